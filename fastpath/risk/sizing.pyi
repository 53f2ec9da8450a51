"""Quantities of orders that depend on the state: money to spend, a position to reduce or close.

`size_order` sets the quantity; `reducible` tells how many lots an order could reduce.

For other compiled modules only: nothing to import from Python.
"""
