# One arena of orders and price levels shared by the books of an engine, and a map from client ids to its slots.
#
# Design: an order or a level is a 32-byte record named by a dense 32-bit slot, never by a pointer. Links are slots too.
# Slot 0 (NIL) is nobody. The arena is reserved once, at its full capacity; the operating system commits a page when it is
# first touched, so memory grows with use up to the bound and records never move. Freed slots are reused last-in first-out,
# which keeps the hot ones in cache. Levels cannot run out before orders do: a level exists only while an order rests on it.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.model cimport price_t, qty_t

cdef enum:
    NIL = 0

cdef struct order_t:              # 32 bytes
    uint64_t id                   # the owner of the pool writes it; the book only hands it on
    qty_t    qty                  # open quantity that may trade now: an iceberg's current slice, else all that is open
    uint32_t prev                 # neighbours in the level's queue (oldest first); next also links the free list
    uint32_t next
    uint32_t level                # the level it rests on; NIL while it rests nowhere
    uint32_t owner                # self-trade prevention group; 0 never counts as oneself

cdef struct level_t:              # 32 bytes
    price_t  key                  # the price, complemented on the bid side: on both sides a smaller key is a better price
    qty_t    qty                  # sum of the orders' qty
    uint32_t head                 # oldest order
    uint32_t tail                 # youngest order; also links the free list
    uint32_t count                # orders
    uint16_t book                 # number of the book
    uint8_t  ladder               # LadderIndex within the book
    uint8_t  iceberg              # 1 once an order with a display size has rested here

cdef struct iceberg_t:            # 16 bytes, touched for icebergs only; all 0 for other orders
    qty_t reserve                 # open quantity behind the current slice
    qty_t display                 # size of a full slice

cdef struct pool_t:
    order_t*   orders
    level_t*   levels
    iceberg_t* icebergs
    uint32_t capacity             # orders
    uint32_t count                # orders in use
    uint32_t free_order           # head of the free list, NIL: take a fresh one
    uint32_t fresh_order          # slots from here on were never used
    uint32_t free_level
    uint32_t fresh_level

cdef pool_t* pool_new(uint32_t capacity) noexcept nogil      # NULL: out of memory
cdef void pool_free(pool_t* pool) noexcept nogil             # NULL is allowed

cdef inline uint32_t pool_take(pool_t* pool) noexcept nogil:
    """A slot for one order, NIL when the pool is full."""
    cdef uint32_t slot = pool.free_order
    if slot != NIL:
        pool.free_order = pool.orders[slot].next
    elif pool.fresh_order <= pool.capacity:
        slot = pool.fresh_order
        pool.fresh_order += 1
    else:
        return NIL
    pool.orders[slot].level = NIL
    pool.count += 1
    return slot

cdef inline void pool_give(pool_t* pool, uint32_t slot) noexcept nogil:
    """Give back the slot of an order that rests nowhere."""
    pool.orders[slot].next = pool.free_order
    pool.free_order = slot
    pool.count -= 1

cdef inline uint32_t pool_take_level(pool_t* pool) noexcept nogil:
    cdef uint32_t handle = pool.free_level
    if handle != NIL:
        pool.free_level = pool.levels[handle].tail
    else:
        handle = pool.fresh_level
        pool.fresh_level += 1
    return handle

cdef inline void pool_give_level(pool_t* pool, uint32_t handle) noexcept nogil:
    pool.levels[handle].tail = pool.free_level
    pool.free_level = handle

cdef inline qty_t order_leaves(const pool_t* pool, uint32_t slot) noexcept nogil:
    """All that is open of a resting order: the slice and the reserve behind it."""
    cdef const order_t* order = &pool.orders[slot]
    if pool.levels[order.level].iceberg:
        return order.qty + pool.icebergs[slot].reserve
    return order.qty


# id_map: client id (u64, not 0) -> slot of the order that carries it. Open addressing with linear probing, at most half full,
# deletion by shifting back (no tombstones, so it never decays). A cell keeps 32 bits of the hash; the id itself is compared in
# the order, which whoever asks is about to read anyway. Clients count upwards, so eight neighbouring ids share a cache
# line of cells. It starts small and doubles up to its capacity: few ids stay within few cache lines.

cdef struct id_cell_t:
    uint32_t tag                  # of the id, see id_tag
    uint32_t slot                 # NIL: empty

cdef struct id_map_t:
    id_cell_t* cells
    const order_t* orders         # the pool's
    uint32_t mask                 # cells - 1
    uint32_t shift                # 32 - log2(cells)
    uint32_t count
    uint32_t room                 # ids it takes before it must grow
    uint32_t capacity

cdef id_map_t* id_map_new(const pool_t* pool) noexcept nogil     # for as many ids as the pool has orders; NULL: out of memory
cdef void id_map_free(id_map_t* ids) noexcept nogil
cdef bint id_map_grow(id_map_t* ids) noexcept nogil

cdef inline bint id_map_reserve(id_map_t* ids) noexcept nogil:
    """Make sure one more id has room. False: the capacity is reached, or out of memory."""
    return ids.count < ids.room or id_map_grow(ids)

cdef inline uint32_t id_tag(uint64_t id) noexcept nogil:
    """29 bits of a multiplicative hash of id / 8, and id % 8."""
    return <uint32_t>(((id >> 3) * <uint64_t>0x9E3779B97F4A7C15) >> 32) & ~<uint32_t>7 | <uint32_t>(id & 7)

cdef inline uint32_t id_map_home(const id_map_t* ids, uint32_t tag) noexcept nogil:
    return (tag >> ids.shift) & ~<uint32_t>7 | tag & 7

cdef inline uint32_t id_map_guess(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot that probably carries `id`, found without touching an order; NIL when certainly none does."""
    cdef uint32_t tag = id_tag(id)
    cdef uint32_t at = id_map_home(ids, tag)
    while ids.cells[at].tag != tag and ids.cells[at].slot != NIL:
        at = (at + 1) & ids.mask
    return ids.cells[at].slot

cdef inline uint32_t id_map_get(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot of `id`, NIL when there is none."""
    cdef uint32_t tag = id_tag(id)
    cdef uint32_t at = id_map_home(ids, tag)
    cdef uint32_t slot = ids.cells[at].slot
    while slot != NIL and (ids.cells[at].tag != tag or ids.orders[slot].id != id):
        at = (at + 1) & ids.mask
        slot = ids.cells[at].slot
    return slot

cdef inline void id_map_put(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil:
    """Add an id that is not in the map, after id_map_reserve() said yes. orders[slot].id is `id`."""
    cdef uint32_t tag = id_tag(id)
    cdef uint32_t at = id_map_home(ids, tag)
    while ids.cells[at].slot != NIL:
        at = (at + 1) & ids.mask
    ids.cells[at].tag = tag
    ids.cells[at].slot = slot
    ids.count += 1

cdef inline void id_map_remove(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil:
    """Forget `id`, which maps to `slot`: whoever was pushed behind it moves up."""
    cdef uint32_t at = id_map_home(ids, id_tag(id))
    cdef uint32_t probe, home
    while ids.cells[at].slot != slot:
        at = (at + 1) & ids.mask
    ids.count -= 1
    probe = at
    while True:
        probe = (probe + 1) & ids.mask
        if ids.cells[probe].slot == NIL:
            break
        home = id_map_home(ids, ids.cells[probe].tag)
        if ((probe - home) & ids.mask) >= ((probe - at) & ids.mask):
            ids.cells[at] = ids.cells[probe]
            at = probe
    ids.cells[at].slot = NIL
