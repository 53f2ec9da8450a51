"""Hash map from a 64-bit key to a row number, for rows that come and go.

`row_map_reserve` before `row_map_put`; `row_map_get` and `row_map_remove`.

For other compiled modules only: nothing to import from Python.
"""
