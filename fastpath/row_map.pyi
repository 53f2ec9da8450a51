"""No Python interface: other compiled modules cimport `fastpath/row_map.pxd`."""
