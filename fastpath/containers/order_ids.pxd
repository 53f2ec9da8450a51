# Which record holds an order id.
#
# Order ids only grow (an id is the sequence of the command that placed the order), and records are made in the same order. So
# the number of an order's record is the number of orders before it. A span of 64 neighboring ids keeps how many came before it
# and a bit for each of its own: 32 bytes where an index by id would take a random cell for each order. Spans without orders
# take no room, so ids may leave gaps of any size. Orders of one time share a line, and a busy engine's lookups stay in the cache.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.containers.hash_index cimport NO_ROW

cdef extern from *:
    int __builtin_popcountll(uint64_t) nogil

cdef struct id_span_t:            # 32 bytes
    uint64_t number               # of the span: id >> SPAN_SHIFT
    uint64_t used                 # bit per id; 0: an empty cell
    uint64_t before               # orders with smaller ids, in all
    uint64_t unused

cdef enum:
    SPAN_SHIFT = 6
    SPAN_IDS = 64

cdef struct order_ids_t:          # open addressing, at most half full; nothing is ever taken out
    id_span_t* cells
    id_span_t* newest             # the span of the newest order; NULL: there is none
    uint64_t mask                 # number of cells - 1
    uint64_t spans
    uint64_t count                # orders
    uint32_t shift                # 64 - log2(number of cells)

cdef bint order_ids_init(order_ids_t* ids) noexcept nogil                        # False: out of memory
cdef void order_ids_free(order_ids_t* ids) noexcept nogil
cdef bint order_ids_grow(order_ids_t* ids) noexcept nogil                        # False: out of memory
cdef void order_ids_add_span(order_ids_t* ids, uint64_t number) noexcept nogil


cdef inline bint order_ids_reserve(order_ids_t* ids) noexcept nogil:
    """Room for one more. False: out of memory."""
    return ids.spans * 2 <= ids.mask or order_ids_grow(ids)


cdef inline void order_ids_append(order_ids_t* ids, uint64_t order_id) noexcept nogil:
    """The next record holds this id, the largest so far. order_ids_reserve() said yes."""
    if ids.newest == NULL or ids.newest.number != order_id >> SPAN_SHIFT:
        order_ids_add_span(ids, order_id >> SPAN_SHIFT)
    ids.newest.used |= <uint64_t>1 << (order_id & (SPAN_IDS - 1))
    ids.count += 1


cdef inline uint64_t order_ids_home(const order_ids_t* ids, uint64_t number) noexcept nogil:
    return (number * <uint64_t>0x9E3779B97F4A7C15) >> ids.shift


cdef inline uint32_t order_ids_find(const order_ids_t* ids, uint64_t order_id) noexcept nogil:
    """NO_ROW: no order has this id."""
    cdef uint64_t bit = <uint64_t>1 << (order_id & (SPAN_IDS - 1))
    cdef uint64_t at = order_ids_home(ids, order_id >> SPAN_SHIFT)
    while ids.cells[at].used != 0:
        if ids.cells[at].number == order_id >> SPAN_SHIFT:
            if ids.cells[at].used & bit == 0:
                return NO_ROW
            return <uint32_t>(ids.cells[at].before + <uint64_t>__builtin_popcountll(ids.cells[at].used & (bit - 1)))
        at = (at + 1) & ids.mask
    return NO_ROW
