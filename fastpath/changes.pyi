"""No Python interface: other compiled modules cimport `fastpath/changes.pxd`."""
