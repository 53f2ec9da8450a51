"""No Python interface: other compiled modules cimport `fastpath/state/guards.pxd`."""
