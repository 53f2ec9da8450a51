"""No Python interface: other compiled modules cimport `fastpath/state/events.pxd`."""
