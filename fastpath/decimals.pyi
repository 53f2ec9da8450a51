"""No Python interface: other compiled modules cimport `fastpath/decimals.pxd`."""
