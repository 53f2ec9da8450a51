"""No Python interface: other compiled modules cimport `fastpath/place_fields.pxd`."""
