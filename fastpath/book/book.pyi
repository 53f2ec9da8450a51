"""The order book of one instrument: price levels of displayed and hidden orders, each a queue in time order.

`book_new` makes one; `book_rest`, `book_remove` and `book_take` change it; `book_best`, `book_depth` and `book_orders`
read it.

For other compiled modules only: nothing to import from Python.
"""
