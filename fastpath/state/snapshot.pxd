# The whole trading state as bytes, and back.
#
# Saved are the facts, not how they lie in memory: sides, indexes, free lists and places in heaps are built anew, so those may
# change without a new version. Records of orders, ledger and definitions are saved as they are: whoever changes the layout
# of one raises VERSION, and adds the step from the version before to server/engine/snapshot_upgrade.py. Here other versions are refused.

from fastpath.state.state cimport bounds_t, state_t

cdef bytes snapshot_save(const state_t* state)                                # between commands
cdef state_t* snapshot_load(const unsigned char[::1] data, bounds_t bounds) except NULL    # ValueError, MemoryError
