"""No Python interface: other compiled modules cimport `fastpath/amend.pxd`."""
