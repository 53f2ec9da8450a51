# Cancels and amendments on their way to mirrored venues, in the order in which they get there.
#
# An order that rests at a venue with a latency, or is on its way there, can be changed no faster than it was placed. A heap:
# by time, then by the command that sent it, then by order. An order has at most one of each kind on its way.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.model.structs cimport price_t, qty_t, ts_t

cdef enum ChangeKind:             # bit set in order_record_t.changes
    CHANGE_CANCEL = 1
    CHANGE_AMEND = 2

cdef struct change_t:
    ts_t     due_ns               # when it gets there
    uint64_t seq                  # of the command that sent it
    uint32_t number               # record of the order
    uint8_t  kind                 # ChangeKind
    uint8_t  cancel_reason
    uint16_t unused
    price_t  price                # AMEND: as in its command, 0: as it is
    qty_t    qty

cdef struct changes_t:
    change_t* items
    uint32_t count
    uint32_t capacity

cdef void changes_close(changes_t* changes) noexcept nogil
cdef bint changes_push(changes_t* changes, const change_t* change) noexcept nogil    # False: out of memory
cdef change_t changes_pop(changes_t* changes) noexcept nogil                         # the earliest; there is one
cdef uint64_t changes_hash(const changes_t* changes) noexcept nogil
