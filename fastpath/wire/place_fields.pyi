"""No Python interface: other compiled modules cimport `fastpath/wire/place_fields.pxd`."""
