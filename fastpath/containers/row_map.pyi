"""No Python interface: other compiled modules cimport `fastpath/containers/row_map.pxd`."""
