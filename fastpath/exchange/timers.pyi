"""No Python interface: other compiled modules cimport `fastpath/exchange/timers.pxd`."""
