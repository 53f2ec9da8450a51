"""No Python interface: other compiled modules cimport `fastpath/far.pxd`."""
