"""The pre-trade checks.

`check_new` says why a new order is refused, `check_amended` why an amended one is; `shape_taker` makes the order that the
book sees; `expiry_of` tells when it ends.

For other compiled modules only: nothing to import from Python.
"""
