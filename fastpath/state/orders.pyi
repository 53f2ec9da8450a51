"""The records of all orders, with indexes by order id and by client order id.

`orders_append` adds one; `orders_find` and `orders_find_client` find one; `orders_open` and `orders_leave` keep the open
orders of each account.

For other compiled modules only: nothing to import from Python.
"""
