"""No Python interface: other compiled modules cimport `fastpath/followup.pxd`."""
