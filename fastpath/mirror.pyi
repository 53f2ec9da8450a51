"""No Python interface: other compiled modules cimport `fastpath/mirror.pxd`."""
