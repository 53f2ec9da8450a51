"""No Python interface: other compiled modules cimport `fastpath/heap.pxd`."""
