"""No Python interface: other compiled modules cimport `fastpath/state/in_flight.pxd`."""
