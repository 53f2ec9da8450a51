# One arena of orders and price levels shared by the books of an engine, and a map from client ids to its slots.
#
# Design: an order or a level is a 32-byte record named by a dense 32-bit slot, never by a pointer. Links are slots too.
# Orders and levels share one numbering (orders 1..capacity, levels above) and keep their links at the same place: a queue is a
# ring through its level, which stands after the youngest order and before the oldest. So linking and unlinking ask no
# questions, and a processor guesses none of them wrong.
# Levels come in pages of eight neighboring prices. Near the touch of a market, whether a price has a level is a coin toss, and
# a page is nearly always there: an order finds its level by arithmetic, and says that it is used by setting a bit.
# Slot 0 (NIL) is nobody. The arena is reserved once, at its full capacity; the operating system commits memory when it is
# first touched, so it grows with use up to the bound and records never move. Freed slots are reused last-in first-out,
# which keeps the hot ones in cache. Pages cannot run out before orders do: one exists only while an order rests on it or arrives.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.model cimport price_t, qty_t

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

cdef struct level_t:              # 32 bytes. An unused one is an empty ring with nothing open
    qty_t    qty                  # sum of the orders' qty
    uint64_t unused_1
    links_t  links
    uint32_t count                # orders
    uint32_t unused_2

cdef enum:
    PAGE_SHIFT = 3
    PAGE_LEVELS = 8               # level `key & 7` of a page, whose number is that of its levels >> PAGE_SHIFT
    PAGE_ICEBERG = 0x80000000     # an order with a display size has rested here since the page was taken

cdef struct page_t:               # 32 bytes
    price_t  key                  # of its first level: the price, complemented on the bid side, so that a smaller key is a better price
    uint32_t used                 # bit per level
    uint32_t home                 # whose it is: number of the book * 4 + LadderIndex, and PAGE_ICEBERG
    uint32_t next_free
    uint32_t unused_1
    uint64_t unused_2

cdef struct iceberg_t:            # 16 bytes, touched for icebergs only; all 0 for other orders
    qty_t reserve                 # open quantity behind the current slice
    qty_t display                 # size of a full slice

cdef struct pool_t:
    order_t*   orders
    level_t*   levels             # the same memory: only slots above capacity are levels
    page_t*    pages              # by page number
    iceberg_t* icebergs
    uint32_t capacity             # orders
    uint32_t count                # orders in use
    uint32_t free_order           # head of the free list, NIL: take a fresh one
    uint32_t fresh_order          # slots from here on were never used
    uint32_t free_page
    uint32_t fresh_page

cdef enum:
    POOL_MAX = 400000000          # orders: a page for each must be numbered too

cdef pool_t* pool_new(uint32_t capacity) noexcept nogil      # NULL: out of memory
cdef void pool_free(pool_t* pool) noexcept nogil             # NULL is allowed

cdef inline links_t* links_of(const pool_t* pool, uint32_t node) noexcept nogil:
    """The links of an order or a level: 16 bytes into its record."""
    return &(<links_t*>pool.orders)[4 * <uint64_t>node + 2]

cdef inline bint is_level(const pool_t* pool, uint32_t node) noexcept nogil:
    """True at the end of a queue, where the level stands."""
    return node > pool.capacity

cdef inline uint32_t pool_take(pool_t* pool) noexcept nogil:
    """A slot for one order, NIL when the pool is full."""
    cdef uint32_t slot = pool.free_order
    if slot != NIL:
        pool.free_order = pool.orders[slot].links.next
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
    pool.orders[slot].links.next = pool.free_order
    pool.free_order = slot
    pool.count -= 1

cdef inline page_t* page_of(const pool_t* pool, uint32_t level) noexcept nogil:
    return &pool.pages[level >> PAGE_SHIFT]

cdef inline price_t level_key(const pool_t* pool, uint32_t level) noexcept nogil:
    return page_of(pool, level).key + (level & (PAGE_LEVELS - 1))

cdef inline uint32_t page_ladder(const page_t* page) noexcept nogil:
    """LadderIndex within the book."""
    return page.home & 3

cdef inline uint32_t page_book(const page_t* page) noexcept nogil:
    return (page.home & ~<uint32_t>PAGE_ICEBERG) >> 2

cdef uint32_t pool_take_page(pool_t* pool, price_t key, uint32_t home) noexcept nogil     # a page of unused levels
cdef void pool_give_page(pool_t* pool, uint32_t page) noexcept nogil

cdef inline qty_t order_leaves(const pool_t* pool, uint32_t slot) noexcept nogil:
    """All that is open of a resting order: the slice and the reserve behind it."""
    cdef const order_t* order = &pool.orders[slot]
    if unlikely(page_of(pool, order.level).home & PAGE_ICEBERG):
        return order.qty + pool.icebergs[slot].reserve
    return order.qty


# id_map: client id (u64, not 0) -> slot of the order that carries it.
#
# Most ids are counted up, so most are found in a cell chosen by their low bits: one read, in a line that ids of the same age
# share. An id whose cell is taken goes into a hash table instead, which stays empty while ids are dense and makes any other ids work.
# The table: open addressing by buckets of one cache line with seven
# lanes, at most three quarters full. A lane keeps 32 bits of the hash; the id itself is compared in the order, which whoever asks is
# about to read anyway. A bucket counts the ids that found it full and went on (spilled): a search ends at the first bucket
# nobody spilled from, and removal needs no tombstones. All lanes are compared at once: no branches to guess wrong.
# It starts small and doubles up to its capacity, so that few ids stay within few cache lines.

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
    uint32_t* cells               # slot by the low bits of the id; NIL: free
    uint64_t  cell_mask           # cells - 1
    const order_t* orders         # the pool's; orders[NIL].id is 0, which is no id
    uint32_t hashed               # ids in the buckets
    uint32_t room                 # ids the buckets take before there must be more
    uint32_t capacity
    id_bucket_t* buckets
    uint32_t mask                 # buckets - 1
    uint32_t shift                # 32 - log2(buckets)

cdef id_map_t* id_map_new(const pool_t* pool) noexcept nogil     # for as many ids as the pool has orders; NULL: out of memory
cdef void id_map_free(id_map_t* ids) noexcept nogil
cdef bint id_map_grow(id_map_t* ids) noexcept nogil
cdef uint64_t id_map_count(const id_map_t* ids) noexcept nogil   # walks all cells

cdef inline bint id_map_reserve(id_map_t* ids) noexcept nogil:
    """Make sure one more id has room. False: the capacity is reached, or out of memory."""
    return ids.hashed < ids.room or id_map_grow(ids)

cdef inline uint32_t* id_cell(const id_map_t* ids, uint64_t id) noexcept nogil:
    """Where `id` is kept unless another id is. The high half, if used, is spread: (account, number) pairs keep out of one another's way."""
    return &ids.cells[(id + (id >> 32) * <uint64_t>0x9E3779B1) & ids.cell_mask]

cdef inline uint32_t id_tag(uint64_t id) noexcept nogil:
    """Multiplicative hash; its high bits choose the bucket."""
    return <uint32_t>((id * <uint64_t>0x9E3779B97F4A7C15) >> 32)

cdef inline const id_bucket_t* id_bucket(const id_map_t* ids, uint64_t id) noexcept nogil:
    return &ids.buckets[id_tag(id) >> ids.shift]

cdef inline uint32_t id_map_guess(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot that may carry `id`, found without touching an order; NIL: no guess."""
    cdef uint32_t slot = id_cell(ids, id)[0]
    cdef uint32_t found
    if ids.hashed > 0:
        found = lanes_equal(id_bucket(ids, id).tags, id_tag(id))
        if found != 0:
            return id_bucket(ids, id).slots[__builtin_ctz(found)]
    return slot

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
        at = (at + 1) & ids.mask

cdef inline uint32_t id_map_get(const id_map_t* ids, uint64_t id) noexcept nogil:
    """The slot of `id` (not 0), NIL when there is none."""
    cdef uint32_t slot = id_cell(ids, id)[0]
    if likely(slot != NIL) and likely(ids.orders[slot].id == id):
        return slot
    return NIL if ids.hashed == 0 else id_map_get_hashed(ids, id)

cdef inline void id_map_put_hashed(id_map_t* ids, uint32_t tag, uint32_t slot) noexcept nogil:
    cdef uint32_t at = tag >> ids.shift
    cdef uint32_t lane
    cdef uint32_t free_lanes = lanes_equal(ids.buckets[at].slots, NIL)
    while free_lanes == 0:
        ids.buckets[at].spilled += 1
        at = (at + 1) & ids.mask
        free_lanes = lanes_equal(ids.buckets[at].slots, NIL)
    lane = __builtin_ctz(free_lanes)
    ids.buckets[at].tags[lane] = tag
    ids.buckets[at].slots[lane] = slot
    ids.hashed += 1

cdef inline void id_map_put(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil:
    """Add an id that is not in the map, after id_map_reserve() said yes. orders[slot].id is `id`."""
    cdef uint32_t* cell = id_cell(ids, id)
    if cell[0] == NIL:
        cell[0] = slot
    else:
        id_map_put_hashed(ids, id_tag(id), slot)

cdef inline void id_map_remove_hashed(id_map_t* ids, uint32_t tag, uint32_t slot) noexcept nogil:
    cdef uint32_t at = tag >> ids.shift
    cdef uint32_t found = lanes_equal(ids.buckets[at].slots, slot)
    while found == 0:
        ids.buckets[at].spilled -= 1
        at = (at + 1) & ids.mask
        found = lanes_equal(ids.buckets[at].slots, slot)
    ids.buckets[at].slots[__builtin_ctz(found)] = NIL
    ids.hashed -= 1

cdef inline void id_map_remove(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil:
    """Forget `id`, which maps to `slot`."""
    cdef uint32_t* cell = id_cell(ids, id)
    if cell[0] == slot:
        cell[0] = NIL
    else:
        id_map_remove_hashed(ids, id_tag(id), slot)
