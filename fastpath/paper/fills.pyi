"""No Python interface: other compiled modules cimport `fastpath/paper/fills.pxd`."""
