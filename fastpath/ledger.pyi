"""No Python interface: other compiled modules cimport `fastpath/ledger.pxd`."""
