"""No Python interface: other compiled modules cimport `fastpath/state/withdrawal.pxd`."""
