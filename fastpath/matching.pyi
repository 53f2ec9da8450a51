"""No Python interface: other compiled modules cimport `fastpath/matching.pxd`."""
