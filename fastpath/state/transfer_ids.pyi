"""Request ids of deposits and withdrawals, so that each is applied once.

`adjustments_find` and `adjustments_remember`.

For other compiled modules only: nothing to import from Python.
"""
