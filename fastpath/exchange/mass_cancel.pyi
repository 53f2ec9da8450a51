"""Cancels of many orders at once.

`mass_cancel` and `session_closed` carry out their commands; `cancel_matching` cancels the orders that pass a filter.

For other compiled modules only: nothing to import from Python.
"""
