"""No Python interface: other compiled modules cimport `fastpath/memory.pxd`."""
