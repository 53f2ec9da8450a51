"""No Python interface: other compiled modules cimport `fastpath/timers.pxd`."""
