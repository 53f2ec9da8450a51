"""Map from an order id to the number of its record, for ids that only grow.

`order_ids_reserve` before `order_ids_append`; `order_ids_find`.

For other compiled modules only: nothing to import from Python.
"""
