"""No Python interface: other compiled modules cimport `fastpath/state/contingent_groups.pxd`."""
