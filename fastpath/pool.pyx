"""Memory of the matching core: an arena of orders and levels, and the map from client ids to its slots. See `pool.pxd`."""

from libc.stdlib cimport calloc, free


cdef pool_t* pool_new(uint32_t capacity) noexcept nogil:
    cdef pool_t* pool = <pool_t*>calloc(1, sizeof(pool_t))
    if pool == NULL:
        return NULL
    pool.orders = <order_t*>calloc(<size_t>capacity + 1, sizeof(order_t))
    pool.levels = <level_t*>calloc(<size_t>capacity + 1, sizeof(level_t))
    pool.icebergs = <iceberg_t*>calloc(<size_t>capacity + 1, sizeof(iceberg_t))
    if pool.orders == NULL or pool.levels == NULL or pool.icebergs == NULL:
        pool_free(pool)
        return NULL
    pool.capacity = capacity
    pool.fresh_order = 1
    pool.fresh_level = 1
    return pool


cdef void pool_free(pool_t* pool) noexcept nogil:
    if pool != NULL:
        free(pool.orders)
        free(pool.levels)
        free(pool.icebergs)
        free(pool)


cdef id_map_t* id_map_new(uint32_t capacity) noexcept nogil:
    cdef id_map_t* ids = <id_map_t*>calloc(1, sizeof(id_map_t))
    cdef uint64_t cells = 16
    if ids == NULL:
        return NULL
    ids.shift = 60
    while cells < 2 * <uint64_t>capacity:
        cells *= 2
        ids.shift -= 1
    ids.cells = <id_cell_t*>calloc(cells, sizeof(id_cell_t))
    if ids.cells == NULL:
        free(ids)
        return NULL
    ids.mask = cells - 1
    ids.capacity = capacity
    return ids


cdef void id_map_free(id_map_t* ids) noexcept nogil:
    if ids != NULL:
        free(ids.cells)
        free(ids)
