"""Hash index over rows that hold their own keys and are never removed.

`index_reserve` before `index_insert`; `index_start` and `index_next` step through the candidates of a hash.

For other compiled modules only: nothing to import from Python.
"""
