"""No Python interface: other compiled modules cimport `fastpath/link_prices.pxd`."""
