"""No Python interface: other compiled modules cimport `fastpath/index.pxd`."""
