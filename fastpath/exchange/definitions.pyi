"""Assets, instruments and accounts, trading statuses and reference prices.

`define_asset`, `define_instrument`, `define_account`, `set_trading_status` and `set_reference_prices` carry out their
commands.

For other compiled modules only: nothing to import from Python.
"""
