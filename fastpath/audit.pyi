"""No Python interface: other compiled modules cimport `fastpath/audit.pxd`."""
