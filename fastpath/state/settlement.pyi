"""What trades, cancels and expiries do to orders and ledger, and the events of that.

`settle_trade`, `open_order`, `close_order`; `flush_ledger` writes the events of changed balances and positions.

For other compiled modules only: nothing to import from Python.
"""
