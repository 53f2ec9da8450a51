"""Checks that the prices of contingent orders make them wait, and not trade at once or with each other.

`check_list_prices` for a new order of a list, `meets_own_group` for an amended one, `parent_in_the_way` for a child that
is triggered.

For other compiled modules only: nothing to import from Python.
"""
