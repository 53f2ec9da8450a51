"""No Python interface: other compiled modules cimport `fastpath/ladder.pxd`."""
