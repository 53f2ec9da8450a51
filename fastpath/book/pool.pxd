# One arena of orders and price levels shared by the books of an engine, and a map from client ids to its slots.
#
# Design: an order or a level is a 32-byte record named by a dense 32-bit slot, never by a pointer. Links are slots too.
# Orders and levels share one numbering (orders up to `slots`, levels above) and keep their links at the same place: a queue is a
# ring through its level, which stands after the youngest order and before the oldest. So linking and unlinking ask no
# questions, and a processor guesses none of them wrong.
# Levels come in pages of sixteen neighboring prices. Near the touch of a market, whether a price has a level is a coin toss, and
# a page is nearly always there: an order finds its level by arithmetic, and says that it is used by setting a bit. Pages of bids
# have even numbers, those of asks odd ones: the number of an order's level tells its side before the level itself is read.
# Slot 0 (NIL) is nobody, and level 0, the same record, is nobody's: no book has its home. The arena is reserved once, at its full capacity; the operating system commits memory when it is
# first touched, so it grows with use up to the bound and records never move. Freed slots are reused last-in first-out,
# which keeps the hot ones in cache. Pages cannot run out before orders do: one exists only while an order rests on it or arrives.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.model.structs cimport price_t, qty_t

cdef extern from *:
    bint likely(bint) nogil
    bint unlikely(bint) nogil

cdef enum:
    NIL = 0

cdef struct links_t:
    uint32_t prev                 # towards the oldest of the queue; of a level: the youngest
    uint32_t next                 # towards the youngest; of a level: the oldest. Of a free order: the next free one

cdef struct order_t:              # 32 bytes
    uint64_t id                   # the owner of the pool writes it; the book only hands it on
    qty_t    qty                  # open quantity that may trade now: an iceberg's current slice, else all that is open
    links_t  links
    uint32_t level                # the level it rests on; NIL while it rests nowhere
    uint32_t owner                # self-trade prevention group; 0 never counts as oneself

cdef struct level_t:              # 32 bytes. An unused one is an empty ring with nothing open and no home
    qty_t    qty                  # sum of the orders' qty, modulo 2**64 once it has been beyond int64: see LEVEL_HUGE
    price_t  key                  # the price, complemented on the bid side, so that a smaller key is a better price
    links_t  links
    uint32_t count                # orders
    uint32_t home                 # whose it is: number of the book * 4 + SideIndex, LEVEL_ICEBERG and LEVEL_HUGE

cdef enum:
    PAGE_SHIFT = 4
    PAGE_LEVELS = 16              # level `key & 15` of a page, whose number is that of its levels >> PAGE_SHIFT
    LEVEL_HUGE = 0x40000000       # its quantity has been beyond int64 since the level was last unused: add up the orders
    LEVEL_ICEBERG = 0x80000000    # an order with a display size has rested here since the level was last unused

cdef struct page_t:               # 8 bytes: those of a deep book fit the near caches
    uint32_t used                 # bit per level
    uint32_t next_free

cdef struct iceberg_t:            # 16 bytes, touched for icebergs only; all 0 for other orders
    qty_t reserve                 # open quantity behind the current slice
    qty_t display                 # size of a full slice

cdef struct pool_t:
    order_t*   orders
    level_t*   levels             # the same memory: only numbers above `slots` are levels
    page_t*    pages              # by page number
    iceberg_t* icebergs
    uint32_t capacity             # orders
    uint32_t by_id                # slots 2..by_id + 1 belong to the id map, which hands them out; a power of two, or 0: none do
    uint32_t slots                # the last slot of an order
    uint32_t count                # orders in use
    uint32_t free_order           # head of the free list, NIL: take a fresh one
    uint32_t fresh_order          # slots from here on were never used
    uint32_t free_pages[2]        # by side (SideIndex & 1)
    uint32_t fresh_pages[2]

cdef enum:
    POOL_MAX = 100000000          # orders: slots by id and pages of both sides for each must be numbered too

cdef pool_t* pool_new(uint32_t capacity, uint32_t by_id) noexcept nogil      # NULL: out of memory
cdef void pool_free(pool_t* pool) noexcept nogil             # NULL is allowed

cdef inline links_t* links_of(const pool_t* pool, uint32_t node) noexcept nogil:
    """The links of an order or a level: 16 bytes into its record."""
    return &(<links_t*>pool.orders)[4 * <uint64_t>node + 2]

cdef inline bint is_level(const pool_t* pool, uint32_t node) noexcept nogil:
    """True at the end of a queue, where the level stands."""
    return node > pool.slots

cdef inline uint32_t pool_take(pool_t* pool) noexcept nogil:
    """A slot for one order, NIL when the pool is full."""
    cdef uint32_t slot = pool.free_order
    if slot != NIL:
        pool.free_order = pool.orders[slot].links.next
    elif pool.fresh_order <= pool.slots:
        slot = pool.fresh_order
        pool.fresh_order += 1
    else:
        return NIL
    pool.orders[slot].level = NIL
    pool.count += 1
    return slot

cdef inline void pool_give(pool_t* pool, uint32_t slot) noexcept nogil:
    """Give back the slot of an order that rests nowhere."""
    pool.orders[slot].links.next = pool.free_order
    pool.free_order = slot
    pool.count -= 1

cdef inline uint32_t level_side(uint32_t level) noexcept nogil:
    """0: a level of bids, 1: of asks (SideIndex & 1). Known from its number alone."""
    return (level >> PAGE_SHIFT) & 1

cdef inline uint32_t level_side_index(const level_t* level) noexcept nogil:
    """SideIndex within the book."""
    return level.home & 3

cdef inline uint32_t level_book(const level_t* level) noexcept nogil:
    return (level.home & ~<uint32_t>(LEVEL_ICEBERG | LEVEL_HUGE)) >> 2

cdef uint32_t pool_take_page(pool_t* pool, uint32_t side) noexcept nogil     # a page of unused levels
cdef void pool_give_page(pool_t* pool, uint32_t page) noexcept nogil

cdef inline qty_t order_leaves(const pool_t* pool, uint32_t slot) noexcept nogil:
    """All that is open of a resting order: the slice and the reserve behind it."""
    cdef const order_t* order = &pool.orders[slot]
    if unlikely(pool.levels[order.level].home & LEVEL_ICEBERG):
        return order.qty + pool.icebergs[slot].reserve
    return order.qty


# id_map: client id (u64, not 0) -> slot of the order that carries it.
#
# An order rests in the slot that its id chooses, or in the other one of the same cache line: so its id finds it by arithmetic,
# without reading anything else. Ids that are counted up are neighbors in memory; any others are spread. An order whose slots are both
# taken gets one of the pool's, and its id goes into a hash table: open addressing by buckets of one cache line with seven
# lanes, at most three quarters full. A lane keeps 32 bits of the hash; the id itself is compared in the order, which whoever asks is
# about to read anyway. A bucket counts the ids that found it full and went on (spilled): a search ends at the first bucket
# nobody spilled from, and removal needs no tombstones. All lanes are compared at once: no branches to guess wrong.
# It starts small and doubles up to its capacity, so that few ids stay within few cache lines. Nobody looks there in vain: a bit
# for each pair of slots says whether an order was ever turned away from it. Bits of neighbors share a line, and all are forgotten
# when the table has emptied.

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif
    /* Bit k is set when lanes[k] == value, for the seven lanes of a bucket; lanes[7] may be read and is ignored. */
    static inline uint32_t tw_lanes_equal(const uint32_t *lanes, uint32_t value) {
    #if defined(__SSE2__)
        const __m128i wanted = _mm_set1_epi32((int)value);
        const __m128i low = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)lanes), wanted);
        const __m128i high = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(lanes + 4)), wanted);
        return (uint32_t)(_mm_movemask_ps(_mm_castsi128_ps(low)) | (_mm_movemask_ps(_mm_castsi128_ps(high)) & 7) << 4);
    #else
        uint32_t bits = 0;
        for (int k = 0; k < 7; k++)
            bits |= (uint32_t)(lanes[k] == value) << k;
        return bits;
    #endif
    }
    """
    uint32_t lanes_equal "tw_lanes_equal"(const uint32_t* lanes, uint32_t value) nogil
    int __builtin_ctz(uint32_t) nogil

cdef enum:
    BUCKET_LANES = 7

cdef struct id_bucket_t:          # 64 bytes
    uint32_t tags[BUCKET_LANES]
    uint32_t spilled              # ids that found this bucket full
    uint32_t slots[BUCKET_LANES]  # NIL: a free lane
    uint32_t unused

cdef struct id_map_t:
    pool_t*   pool
    order_t*  orders              # the pool's. A free slot, and orders[NIL], carries the id 0, which is no id
    uint64_t  mask                # slots by id - 1
    uint32_t  bits                # their log2
    uint32_t  shift_bits          # 64 - bits
    uint32_t  hashed              # ids in the buckets
    uint32_t  room                # ids the buckets take before there must be more
    uint32_t  capacity
    id_bucket_t* buckets
    uint32_t  bucket_mask         # buckets - 1
    uint32_t  shift               # 32 - log2(buckets)
    uint32_t  turned              # orders turned away since the bits were all 0
    uint64_t* turned_away         # bit per pair of slots by id

cdef uint32_t id_map_slots(uint32_t capacity) noexcept nogil     # how many slots by id a pool of so many orders should have
cdef id_map_t* id_map_new(pool_t* pool) noexcept nogil           # for as many ids as the pool has orders; NULL: out of memory
cdef void id_map_free(id_map_t* ids) noexcept nogil
cdef bint id_map_grow(id_map_t* ids) noexcept nogil

cdef inline bint id_map_reserve(id_map_t* ids) noexcept nogil:
    """Make sure one more id has room. False: the capacity is reached, or out of memory."""
    return ids.hashed < ids.room or id_map_grow(ids)

cdef inline uint32_t id_slot(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot `id` chooses; its second choice is this ^ 1.

    What is above its low bits, if used, shifts it by golden sections, so that blocks of (account, number) or (book, number)
    pairs come to lie evenly apart.
    """
    cdef uint64_t shift
    if id <= ids.mask:
        return 2 + <uint32_t>id
    shift = (id >> ids.bits) * <uint64_t>0x9E3779B97F4A7C15 >> ids.shift_bits
    return 2 + <uint32_t>((id + shift) & ids.mask)

cdef inline uint32_t id_tag(uint64_t id) noexcept nogil:
    """Multiplicative hash; its high bits choose the bucket."""
    return <uint32_t>((id * <uint64_t>0x9E3779B97F4A7C15) >> 32)

cdef inline bint id_turned_away(const id_map_t* ids, uint32_t slot) noexcept nogil:
    return ids.turned_away[slot >> 7] >> (slot >> 1 & 63) & 1

cdef inline uint32_t id_map_get_hashed(const id_map_t* ids, uint64_t id) noexcept nogil:
    cdef uint32_t tag = id_tag(id)
    cdef uint32_t at = tag >> ids.shift
    cdef uint32_t found, slot
    cdef const id_bucket_t* bucket
    while True:
        bucket = &ids.buckets[at]
        found = lanes_equal(bucket.tags, tag)
        while found != 0:
            slot = bucket.slots[__builtin_ctz(found)]
            if ids.orders[slot].id == id:
                return slot
            found &= found - 1
        if bucket.spilled == 0:
            return NIL
        at = (at + 1) & ids.bucket_mask

cdef inline uint32_t id_map_get(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot of `id` (not 0), NIL when there is none."""
    cdef uint32_t slot = id_slot(ids, id)
    slot ^= ids.orders[slot].id != id           # no branch: with random ids it would be guessed wrong
    if likely(ids.orders[slot].id == id):
        return slot
    return id_map_get_hashed(ids, id) if ids.hashed > 0 and id_turned_away(ids, slot) else NIL

cdef inline bint id_map_has(const id_map_t* ids, uint64_t id) noexcept nogil:
    """As id_map_get(), when it is likely not there."""
    cdef uint32_t slot = id_slot(ids, id)
    return (ids.orders[slot].id == id) | (ids.orders[slot ^ 1].id == id) or (
        unlikely(ids.hashed > 0) and id_turned_away(ids, slot) and id_map_get_hashed(ids, id) != NIL)

cdef inline void id_map_put_hashed(id_map_t* ids, uint32_t tag, uint32_t slot) noexcept nogil:
    cdef uint32_t at = tag >> ids.shift
    cdef uint32_t lane
    cdef uint32_t free_lanes = lanes_equal(ids.buckets[at].slots, NIL)
    while free_lanes == 0:
        ids.buckets[at].spilled += 1
        at = (at + 1) & ids.bucket_mask
        free_lanes = lanes_equal(ids.buckets[at].slots, NIL)
    lane = __builtin_ctz(free_lanes)
    ids.buckets[at].tags[lane] = tag
    ids.buckets[at].slots[lane] = slot
    ids.hashed += 1

cdef uint32_t id_map_turn_away(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil     # another slot instead

cdef inline uint32_t id_map_take(id_map_t* ids, uint64_t id) noexcept nogil:
    """A slot for the order of an id that is not in the map. id_map_reserve() said yes, and the pool is not full."""
    cdef uint32_t slot = id_slot(ids, id)
    slot ^= ids.orders[slot].id != 0
    if likely(ids.orders[slot].id == 0):
        ids.pool.count += 1
    else:
        slot = id_map_turn_away(ids, id, slot)
    ids.orders[slot].id = id
    return slot

cdef inline uint32_t id_map_offer(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot id_map_take() would give a new id, if that is one of its own; NIL: it is not, or the id may be in the map."""
    cdef uint32_t slot = id_slot(ids, id)
    cdef uint64_t there = ids.orders[slot].id
    cdef uint64_t beside = ids.orders[slot ^ 1].id
    if unlikely((there == id) | (beside == id) | ((there != 0) & (beside != 0))):
        return NIL
    if unlikely(ids.hashed > 0) and id_turned_away(ids, slot):
        return NIL
    return slot ^ <uint32_t>(there != 0)

cdef inline void id_map_remove_hashed(id_map_t* ids, uint32_t tag, uint32_t slot) noexcept nogil:
    cdef uint32_t at = tag >> ids.shift
    cdef uint32_t found = lanes_equal(ids.buckets[at].slots, slot)
    while found == 0:
        ids.buckets[at].spilled -= 1
        at = (at + 1) & ids.bucket_mask
        found = lanes_equal(ids.buckets[at].slots, slot)
    ids.buckets[at].slots[__builtin_ctz(found)] = NIL
    ids.hashed -= 1

cdef inline void id_map_give(id_map_t* ids, uint32_t slot) noexcept nogil:
    """Give back the slot of an order that rests nowhere, and forget its id."""
    if likely(slot <= ids.pool.by_id + 1):
        ids.pool.count -= 1
    else:
        id_map_remove_hashed(ids, id_tag(ids.orders[slot].id), slot)
        pool_give(ids.pool, slot)
    ids.orders[slot].id = 0
    ids.orders[slot].level = NIL
