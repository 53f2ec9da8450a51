"""No Python interface: other compiled modules cimport `fastpath/plain_orders.pxd`."""
