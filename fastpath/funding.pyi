"""No Python interface: other compiled modules cimport `fastpath/funding.pxd`."""
