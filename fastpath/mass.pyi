"""No Python interface: other compiled modules cimport `fastpath/mass.pxd`."""
