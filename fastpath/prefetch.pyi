"""No Python interface: other compiled modules cimport `fastpath/prefetch.pxd`."""
