"""Open orders that are reduced or canceled because of a position, or of other orders of their group.

`cap_reducing_orders` holds reduce-only orders to the position; `follow_siblings` and `follow_fill` reduce the others of an
OCO after a fill.

For other compiled modules only: nothing to import from Python.
"""
