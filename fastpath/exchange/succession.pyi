"""A new tick or lot size: one instrument takes over from all others of its name.

`succeed_instrument` carries out SUCCEED_INSTRUMENT.

For other compiled modules only: nothing to import from Python.
"""
