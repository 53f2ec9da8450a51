"""No Python interface: other compiled modules cimport `fastpath/exchange/mass_cancel.pxd`."""
