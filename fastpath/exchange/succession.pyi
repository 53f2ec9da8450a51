"""No Python interface: other compiled modules cimport `fastpath/exchange/succession.pxd`."""
