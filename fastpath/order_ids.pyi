"""No Python interface: other compiled modules cimport `fastpath/order_ids.pxd`."""
