"""Deposits and withdrawals.

`adjust_balance` carries out ADJUST_BALANCE.

For other compiled modules only: nothing to import from Python.
"""
