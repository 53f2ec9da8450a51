"""No Python interface: other compiled modules cimport `fastpath/exchange/transfers.pxd`."""
