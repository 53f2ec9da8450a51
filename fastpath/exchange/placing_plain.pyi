"""The fast path of a plain limit order; any other order takes the general path in `placing`.

`place_plain` does the whole command, or nothing and returns False.

For other compiled modules only: nothing to import from Python.
"""
