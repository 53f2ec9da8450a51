"""Binary min-heap of orders from which any order can be removed.

`heap_push`, `heap_remove`; the first item is the least. `heap_rebuild` restores the order after keys were changed.

For other compiled modules only: nothing to import from Python.
"""
