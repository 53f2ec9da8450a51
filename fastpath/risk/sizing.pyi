"""No Python interface: other compiled modules cimport `fastpath/risk/sizing.pxd`."""
