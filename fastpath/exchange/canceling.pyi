"""No Python interface: other compiled modules cimport `fastpath/exchange/canceling.pxd`."""
