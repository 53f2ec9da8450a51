"""No Python interface: other compiled modules cimport `fastpath/exchange/placing.pxd`."""
