"""All trading state, as one struct.

`state_new`, `state_free`, `state_hash`; `find_instrument` and `find_account`.

For other compiled modules only: nothing to import from Python.
"""
