"""No Python interface: other compiled modules cimport `fastpath/risk/link_prices.pxd`."""
