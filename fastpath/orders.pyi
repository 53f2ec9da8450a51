"""No Python interface: other compiled modules cimport `fastpath/orders.pxd`."""
