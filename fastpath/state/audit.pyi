"""No Python interface: other compiled modules cimport `fastpath/state/audit.pxd`."""
