"""No Python interface: other compiled modules cimport `fastpath/model/decimals.pxd`."""
