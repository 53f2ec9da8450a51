"""No Python interface: other compiled modules cimport `fastpath/blotter/newest.pxd`."""
