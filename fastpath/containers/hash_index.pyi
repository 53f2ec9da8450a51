"""No Python interface: other compiled modules cimport `fastpath/containers/hash_index.pxd`."""
