"""No Python interface: other compiled modules cimport `fastpath/containers/heap.pxd`."""
