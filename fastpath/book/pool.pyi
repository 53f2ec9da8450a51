"""No Python interface: other compiled modules cimport `fastpath/book/pool.pxd`."""
