"""No Python interface: other compiled modules cimport `fastpath/triggers.pxd`."""
