"""No Python interface: other compiled modules cimport `fastpath/canceling.pxd`."""
