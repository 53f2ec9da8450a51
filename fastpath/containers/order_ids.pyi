"""No Python interface: other compiled modules cimport `fastpath/containers/order_ids.pxd`."""
