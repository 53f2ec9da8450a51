"""Amendments of orders.

`amend` carries out AMEND; `amendment_arrives` applies one at a venue; `enter_amended` lets the market decide on the
amended order.

For other compiled modules only: nothing to import from Python.
"""
