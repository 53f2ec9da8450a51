"""A venue's displayed book, as its depth updates describe it; paper orders trade with it.

`mirror_begin`, `mirror_level`, `mirror_end` receive a book snapshot; `mirror_match` trades, `mirror_check` and
`mirror_displayed` look without trading.

For other compiled modules only: nothing to import from Python.
"""
