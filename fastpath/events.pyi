"""No Python interface: other compiled modules cimport `fastpath/events.pxd`."""
