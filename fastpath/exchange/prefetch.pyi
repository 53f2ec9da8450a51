"""No Python interface: other compiled modules cimport `fastpath/exchange/prefetch.pxd`."""
