"""No Python interface: other compiled modules cimport `fastpath/book/mirror.pxd`."""
