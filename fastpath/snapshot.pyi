"""No Python interface: other compiled modules cimport `fastpath/snapshot.pxd`."""
