"""No Python interface: other compiled modules cimport `fastpath/sizing.pxd`."""
