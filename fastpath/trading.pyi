"""No Python interface: other compiled modules cimport `fastpath/trading.pxd`."""
