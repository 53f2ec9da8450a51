"""No Python interface: other compiled modules cimport `fastpath/adjustments.pxd`."""
