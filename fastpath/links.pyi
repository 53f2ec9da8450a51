"""No Python interface: other compiled modules cimport `fastpath/links.pxd`."""
