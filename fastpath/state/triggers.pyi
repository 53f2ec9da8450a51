"""Conditional orders that wait for a price.

`start_waiting` and `stop_waiting`; `is_due` tests one; `next_triggered` takes out the next order that is due.

For other compiled modules only: nothing to import from Python.
"""
