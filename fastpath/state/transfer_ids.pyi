"""No Python interface: other compiled modules cimport `fastpath/state/transfer_ids.pxd`."""
