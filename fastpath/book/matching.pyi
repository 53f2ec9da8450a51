"""No Python interface: other compiled modules cimport `fastpath/book/matching.pxd`."""
