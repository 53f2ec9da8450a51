"""Groups of contingent orders: which orders carry the same link id.

`contingent_check` before `contingent_join`; `find_group` finds a group.

For other compiled modules only: nothing to import from Python.
"""
