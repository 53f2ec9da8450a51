"""No Python interface: other compiled modules cimport `fastpath/admission.pxd`."""
