"""No Python interface: other compiled modules cimport `fastpath/succession.pxd`."""
