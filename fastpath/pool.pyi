"""No Python interface: other compiled modules cimport `fastpath/pool.pxd`."""
