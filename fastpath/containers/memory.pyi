"""Large zeroed arrays, on huge pages where the system grants them.

`memory_reserve` and `memory_release`.

For other compiled modules only: nothing to import from Python.
"""
