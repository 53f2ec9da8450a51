"""The fields of a PlaceOrderRequest, read from its bytes.

`read_place` reads them; `fields_go_together` tells whether they form a plain order.

For other compiled modules only: nothing to import from Python.
"""
