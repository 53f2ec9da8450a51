"""Memory of the matching core: an arena of orders and levels, and the map from client ids to its slots. See `pool.pxd`."""

from libc.stdlib cimport calloc, free

from fastpath.memory cimport memory_release, memory_reserve

cdef extern from *:
    int __builtin_ctzll(uint64_t) nogil

cdef enum:
    FIRST_CELLS = 1024


cdef pool_t* pool_new(uint32_t capacity) noexcept nogil:
    cdef pool_t* pool = <pool_t*>calloc(1, sizeof(pool_t))
    if pool == NULL:
        return NULL
    pool.capacity = capacity
    pool.orders = <order_t*>memory_reserve((<size_t>capacity + 1) * sizeof(order_t))
    pool.levels = <level_t*>memory_reserve((<size_t>capacity + 1) * sizeof(level_t))
    pool.icebergs = <iceberg_t*>memory_reserve((<size_t>capacity + 1) * sizeof(iceberg_t))
    if pool.orders == NULL or pool.levels == NULL or pool.icebergs == NULL:
        pool_free(pool)
        return NULL
    pool.fresh_order = 1
    pool.fresh_level = 1
    return pool


cdef void pool_free(pool_t* pool) noexcept nogil:
    if pool != NULL:
        memory_release(pool.orders, (<size_t>pool.capacity + 1) * sizeof(order_t))
        memory_release(pool.levels, (<size_t>pool.capacity + 1) * sizeof(level_t))
        memory_release(pool.icebergs, (<size_t>pool.capacity + 1) * sizeof(iceberg_t))
        free(pool)


cdef bint allocate_cells(id_map_t* ids, uint64_t cells) noexcept nogil:
    """An empty table of a power of two of cells. False: out of memory, the map is as it was."""
    cdef id_cell_t* table = <id_cell_t*>memory_reserve(cells * sizeof(id_cell_t))
    if table == NULL:
        return False
    ids.cells = table
    ids.mask = <uint32_t>(cells - 1)
    ids.shift = 32 - <uint32_t>__builtin_ctzll(cells)
    ids.room = <uint32_t>min(cells // 2, <uint64_t>ids.capacity)
    ids.count = 0
    return True


cdef id_map_t* id_map_new(const pool_t* pool) noexcept nogil:
    cdef id_map_t* ids = <id_map_t*>calloc(1, sizeof(id_map_t))
    if ids == NULL:
        return NULL
    ids.orders = pool.orders
    ids.capacity = pool.capacity
    if not allocate_cells(ids, FIRST_CELLS):
        free(ids)
        return NULL
    return ids


cdef bint id_map_grow(id_map_t* ids) noexcept nogil:
    cdef id_map_t old = ids[0]
    cdef uint64_t cells = <uint64_t>old.mask + 1
    cdef uint64_t i
    if ids.count >= ids.capacity or not allocate_cells(ids, 2 * cells):
        return False
    for i in range(cells):
        if old.cells[i].slot != NIL:
            id_map_put(ids, ids.orders[old.cells[i].slot].id, old.cells[i].slot)
    memory_release(old.cells, cells * sizeof(id_cell_t))
    return True


cdef void id_map_free(id_map_t* ids) noexcept nogil:
    if ids != NULL:
        memory_release(ids.cells, (<size_t>ids.mask + 1) * sizeof(id_cell_t))
        free(ids)
