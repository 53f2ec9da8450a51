"""No Python interface: other compiled modules cimport `fastpath/definitions.pxd`."""
