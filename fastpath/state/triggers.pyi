"""No Python interface: other compiled modules cimport `fastpath/state/triggers.pxd`."""
