"""No Python interface: other compiled modules cimport `fastpath/book/far_levels.pxd`."""
