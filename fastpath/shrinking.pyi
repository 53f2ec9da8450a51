"""No Python interface: other compiled modules cimport `fastpath/shrinking.pxd`."""
