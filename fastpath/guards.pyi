"""No Python interface: other compiled modules cimport `fastpath/guards.pxd`."""
