"""No Python interface: other compiled modules cimport `fastpath/state/settlement.pxd`."""
