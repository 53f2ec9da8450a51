"""Memory of the matching core: an arena of orders and levels, and the map from client ids to its slots. See `pool.pxd`."""

from libc.string cimport memset

from fastpath.containers.memory cimport memory_release, memory_reserve

cdef extern from *:
    int __builtin_ctzll(uint64_t) nogil

cdef enum:
    FIRST_BUCKETS = 256
    PREFAULT = 67108864           # bytes
    MIN_BY_ID = 4096
    SPREAD = 2                    # ids that rest together may be at least so many times as far apart as they are many


cdef inline uint32_t first_page(const pool_t* pool) noexcept nogil:
    """The first page above all slots that is one of bids."""
    return ((pool.slots >> PAGE_SHIFT) + 2) & ~<uint32_t>1


cdef inline size_t end_page(const pool_t* pool) noexcept nogil:
    """One past the last page: on each side one for each order and for one that is on its way from one to another."""
    return first_page(pool) + 2 * (<size_t>pool.capacity + 1)


cdef inline size_t nodes_size(const pool_t* pool) noexcept nogil:
    return end_page(pool) * PAGE_LEVELS * sizeof(level_t)


cdef pool_t* pool_new(uint32_t capacity, uint32_t by_id) noexcept nogil:
    cdef pool_t* pool = NULL
    if capacity <= POOL_MAX:
        pool = <pool_t*>memory_reserve(sizeof(pool_t))
    if pool == NULL:
        return NULL
    pool.capacity = capacity
    pool.by_id = by_id
    pool.slots = capacity if by_id == 0 else by_id + 1 + capacity
    pool.orders = <order_t*>memory_reserve(nodes_size(pool))
    pool.levels = <level_t*>pool.orders
    pool.icebergs = <iceberg_t*>memory_reserve((<size_t>pool.slots + 1) * sizeof(iceberg_t))
    pool.pages = <page_t*>memory_reserve(end_page(pool) * sizeof(page_t))
    if pool.orders == NULL or pool.icebergs == NULL or pool.pages == NULL:
        pool_free(pool)
        return NULL
    memset(pool.orders, 0, min(<size_t>PREFAULT, (<size_t>by_id + 2) * sizeof(order_t)))    # memory that comes now does not come while trading
    pool.levels[NIL].home = ~<uint32_t>0
    pool.fresh_order = pool.slots - capacity + 1
    pool.fresh_pages[0] = first_page(pool)
    pool.fresh_pages[1] = first_page(pool) + 1
    return pool


cdef void pool_free(pool_t* pool) noexcept nogil:
    if pool != NULL:
        memory_release(pool.orders, nodes_size(pool))
        memory_release(pool.icebergs, (<size_t>pool.slots + 1) * sizeof(iceberg_t))
        memory_release(pool.pages, end_page(pool) * sizeof(page_t))
        memory_release(pool, sizeof(pool_t))


cdef uint32_t pool_take_page(pool_t* pool, uint32_t side) noexcept nogil:
    cdef uint32_t page = pool.free_pages[side]
    cdef uint32_t handle
    if page != NIL:
        pool.free_pages[side] = pool.pages[page].next_free
        return page
    page = pool.fresh_pages[side]
    pool.fresh_pages[side] += 2
    for handle in range(page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT):
        pool.levels[handle].links.prev = pool.levels[handle].links.next = handle
    return page


cdef void pool_give_page(pool_t* pool, uint32_t page) noexcept nogil:
    pool.pages[page].next_free = pool.free_pages[page & 1]
    pool.free_pages[page & 1] = page


cdef bint allocate_buckets(id_map_t* ids, uint64_t buckets) noexcept nogil:
    """An empty table of a power of two of buckets. False: out of memory, the map is as it was."""
    cdef id_bucket_t* table = <id_bucket_t*>memory_reserve(buckets * sizeof(id_bucket_t))
    if table == NULL:
        return False
    ids.buckets = table
    ids.bucket_mask = <uint32_t>(buckets - 1)
    ids.shift = 32 - <uint32_t>__builtin_ctzll(buckets)
    ids.room = <uint32_t>min(buckets * BUCKET_LANES * 3 // 4, <uint64_t>ids.capacity)
    ids.hashed = 0
    return True


cdef uint32_t id_map_slots(uint32_t capacity) noexcept nogil:
    cdef uint32_t slots = MIN_BY_ID
    while slots < SPREAD * <uint64_t>capacity:
        slots *= 2
    return slots


cdef inline size_t bits_size(const id_map_t* ids) noexcept nogil:
    return ids.mask // 16 + 64


cdef id_map_t* id_map_new(pool_t* pool) noexcept nogil:
    cdef id_map_t* ids = <id_map_t*>memory_reserve(sizeof(id_map_t))
    if ids == NULL:
        return NULL
    ids.pool = pool
    ids.orders = pool.orders
    ids.capacity = pool.capacity
    ids.mask = pool.by_id - 1
    ids.bits = <uint32_t>__builtin_ctzll(pool.by_id)
    ids.shift_bits = 64 - ids.bits
    ids.turned_away = <uint64_t*>memory_reserve(bits_size(ids))
    if ids.turned_away == NULL or not allocate_buckets(ids, FIRST_BUCKETS):
        id_map_free(ids)
        return NULL
    return ids


cdef bint id_map_grow(id_map_t* ids) noexcept nogil:
    cdef id_map_t old = ids[0]
    cdef uint64_t buckets = <uint64_t>old.bucket_mask + 1
    cdef uint64_t at
    cdef uint32_t lane
    if ids.hashed >= ids.capacity or not allocate_buckets(ids, 2 * buckets):
        return False
    for at in range(buckets):
        for lane in range(BUCKET_LANES):
            if old.buckets[at].slots[lane] != NIL:
                id_map_put_hashed(ids, old.buckets[at].tags[lane], old.buckets[at].slots[lane])
    memory_release(old.buckets, buckets * sizeof(id_bucket_t))
    return True


cdef void id_map_free(id_map_t* ids) noexcept nogil:
    if ids != NULL:
        memory_release(ids.turned_away, bits_size(ids))
        if ids.buckets != NULL:
            memory_release(ids.buckets, (<size_t>ids.bucket_mask + 1) * sizeof(id_bucket_t))
        memory_release(ids, sizeof(id_map_t))


cdef uint32_t id_map_turn_away(id_map_t* ids, uint64_t id, uint32_t slot) noexcept nogil:
    cdef uint32_t instead = pool_take(ids.pool)
    if ids.hashed == 0 and ids.turned > ids.mask >> 6:     # so many have paid for it
        memset(ids.turned_away, 0, bits_size(ids))
        ids.turned = 0
    ids.turned += 1
    ids.turned_away[slot >> 7] |= <uint64_t>1 << (slot >> 1 & 63)
    id_map_put_hashed(ids, id_tag(id), instead)
    return instead
