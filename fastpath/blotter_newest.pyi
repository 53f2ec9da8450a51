"""No Python interface: other compiled modules cimport `fastpath/blotter_newest.pxd`."""
