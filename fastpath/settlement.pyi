"""No Python interface: other compiled modules cimport `fastpath/settlement.pxd`."""
