"""No Python interface: other compiled modules cimport `fastpath/book/side.pxd`."""
