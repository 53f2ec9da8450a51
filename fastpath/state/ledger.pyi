"""Double-entry balances by account and asset, positions by account and instrument.

`ledger_balance` and `ledger_position` find or make a row; `ledger_move` moves money; `ledger_execute` changes a position.

For other compiled modules only: nothing to import from Python.
"""
