"""Memory of the matching core: an arena of orders and levels, and the map from client ids to its slots. See `pool.pxd`."""

from libc.stdlib cimport calloc, free

from fastpath.memory cimport memory_release, memory_reserve

cdef extern from *:
    int __builtin_ctzll(uint64_t) nogil

cdef enum:
    FIRST_BUCKETS = 256
    CELLS_PER_ORDER = 4           # 16 bytes an order: ids that rest together may be four times as far apart as they are many
    MIN_CELLS = 4096


cdef inline uint32_t first_page(uint32_t capacity) noexcept nogil:
    return (capacity >> PAGE_SHIFT) + 1


cdef inline size_t end_page(uint32_t capacity) noexcept nogil:
    """One past the last page: one for each order and for one that is on its way from one to another."""
    return first_page(capacity) + <size_t>capacity + 1


cdef inline size_t nodes_size(uint32_t capacity) noexcept nogil:
    return end_page(capacity) * PAGE_LEVELS * sizeof(level_t)


cdef pool_t* pool_new(uint32_t capacity) noexcept nogil:
    cdef pool_t* pool = NULL
    if capacity <= POOL_MAX:
        pool = <pool_t*>calloc(1, sizeof(pool_t))
    if pool == NULL:
        return NULL
    pool.capacity = capacity
    pool.orders = <order_t*>memory_reserve(nodes_size(capacity))
    pool.levels = <level_t*>pool.orders
    pool.icebergs = <iceberg_t*>memory_reserve((<size_t>capacity + 1) * sizeof(iceberg_t))
    pool.pages = <page_t*>memory_reserve(end_page(capacity) * sizeof(page_t))
    if pool.orders == NULL or pool.icebergs == NULL or pool.pages == NULL:
        pool_free(pool)
        return NULL
    pool.fresh_order = 1
    pool.fresh_page = first_page(capacity)
    return pool


cdef void pool_free(pool_t* pool) noexcept nogil:
    if pool != NULL:
        memory_release(pool.orders, nodes_size(pool.capacity))
        memory_release(pool.icebergs, (<size_t>pool.capacity + 1) * sizeof(iceberg_t))
        memory_release(pool.pages, end_page(pool.capacity) * sizeof(page_t))
        free(pool)


cdef uint32_t pool_take_page(pool_t* pool, price_t key, uint32_t home) noexcept nogil:
    cdef uint32_t page = pool.free_page
    cdef uint32_t handle
    if page != NIL:
        pool.free_page = pool.pages[page].next_free
    else:
        page = pool.fresh_page
        pool.fresh_page += 1
        for handle in range(page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT):
            pool.levels[handle].links.prev = pool.levels[handle].links.next = handle
    pool.pages[page].key = key
    pool.pages[page].home = home
    return page


cdef void pool_give_page(pool_t* pool, uint32_t page) noexcept nogil:
    pool.pages[page].next_free = pool.free_page
    pool.free_page = page


cdef bint allocate_buckets(id_map_t* ids, uint64_t buckets) noexcept nogil:
    """An empty table of a power of two of buckets. False: out of memory, the map is as it was."""
    cdef id_bucket_t* table = <id_bucket_t*>memory_reserve(buckets * sizeof(id_bucket_t))
    if table == NULL:
        return False
    ids.buckets = table
    ids.mask = <uint32_t>(buckets - 1)
    ids.shift = 32 - <uint32_t>__builtin_ctzll(buckets)
    ids.room = <uint32_t>min(buckets * BUCKET_LANES * 3 // 4, <uint64_t>ids.capacity)
    ids.hashed = 0
    return True


cdef id_map_t* id_map_new(const pool_t* pool) noexcept nogil:
    cdef id_map_t* ids = <id_map_t*>calloc(1, sizeof(id_map_t))
    if ids == NULL:
        return NULL
    ids.orders = pool.orders
    ids.capacity = pool.capacity
    ids.cell_mask = MIN_CELLS - 1
    while ids.cell_mask // CELLS_PER_ORDER < pool.capacity:
        ids.cell_mask = 2 * ids.cell_mask + 1
    ids.cells = <uint32_t*>memory_reserve((ids.cell_mask + 1) * sizeof(uint32_t))
    if ids.cells == NULL or not allocate_buckets(ids, FIRST_BUCKETS):
        id_map_free(ids)
        return NULL
    return ids


cdef bint id_map_grow(id_map_t* ids) noexcept nogil:
    cdef id_map_t old = ids[0]
    cdef uint64_t buckets = <uint64_t>old.mask + 1
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
        memory_release(ids.cells, (ids.cell_mask + 1) * sizeof(uint32_t))
        if ids.buckets != NULL:
            memory_release(ids.buckets, (<size_t>ids.mask + 1) * sizeof(id_bucket_t))
        free(ids)


cdef uint64_t id_map_count(const id_map_t* ids) noexcept nogil:
    cdef uint64_t count = ids.hashed
    cdef uint64_t at
    for at in range(ids.cell_mask + 1):
        count += ids.cells[at] != NIL
    return count
