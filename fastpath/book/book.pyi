"""No Python interface: other compiled modules cimport `fastpath/book/book.pxd`."""
