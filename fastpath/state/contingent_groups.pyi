"""Groups of contingent orders: which orders carry the same link id.

`links_check` before `links_join`; `find_group` finds a group.

For other compiled modules only: nothing to import from Python.
"""
