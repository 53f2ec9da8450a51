"""Ordered map of the price levels away from the touch. See `far_levels.pxd`."""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from fastpath.book.pool cimport NIL

cdef enum:
    FIRST_DIRECTORY = 16
    MERGED = 32                   # two neighbours with no more keys than this become one


cdef bint far_prepare(far_t* far) noexcept nogil:
    cdef uint32_t capacity = far.capacity
    cdef far_entry_t* directory
    if far.spare != NULL:
        return True
    if far.blocks == capacity:
        capacity = max(<uint32_t>FIRST_DIRECTORY, 2 * capacity)
        directory = <far_entry_t*>realloc(far.directory, capacity * sizeof(far_entry_t))
        if directory == NULL:
            return False
        far.directory = directory
        far.capacity = capacity
    far.spare = <far_block_t*>malloc(sizeof(far_block_t))
    return far.spare != NULL


cdef void far_close(far_t* far) noexcept nogil:
    cdef uint32_t i
    for i in range(far.blocks):
        free(far.directory[i].block)
    free(far.directory)
    free(far.spare)


cdef inline uint32_t block_of(const far_t* far, price_t key) noexcept nogil:
    """The block whose range holds `key`: the last one that starts at or before it, else the first."""
    cdef uint32_t low = 0
    cdef uint32_t high = far.blocks
    cdef uint32_t middle
    while high - low > 1:
        middle = (low + high) >> 1
        if far.directory[middle].first <= key:
            low = middle
        else:
            high = middle
    return low


cdef inline uint32_t position(const far_block_t* block, price_t key) noexcept nogil:
    """How many keys of the block are smaller."""
    cdef uint32_t low = 0
    cdef uint32_t high = block.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if block.keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


cdef uint32_t far_find(const far_t* far, price_t key) noexcept nogil:
    cdef const far_block_t* block
    cdef uint32_t at
    if far.count == 0:
        return NIL
    block = far.directory[block_of(far, key)].block
    at = position(block, key)
    return block.levels[at] if at < block.count and block.keys[at] == key else NIL


cdef uint32_t far_from(const far_t* far, price_t key, price_t* found) noexcept nogil:
    cdef const far_block_t* block
    cdef uint32_t i, at
    if far.count == 0:
        return NIL
    i = block_of(far, key)
    at = position(far.directory[i].block, key)
    if at == far.directory[i].block.count:
        i += 1
        at = 0
        if i == far.blocks:
            return NIL
    block = far.directory[i].block
    found[0] = block.keys[at]
    return block.levels[at]


cdef void add_block(far_t* far, uint32_t at) noexcept nogil:
    """Put the spare, empty, into the directory."""
    memmove(&far.directory[at + 1], &far.directory[at], (far.blocks - at) * sizeof(far_entry_t))
    far.directory[at].block = far.spare
    far.directory[at].block.count = 0
    far.blocks += 1
    far.spare = NULL


cdef void drop_block(far_t* far, uint32_t at) noexcept nogil:
    if far.spare == NULL:
        far.spare = far.directory[at].block
    else:
        free(far.directory[at].block)
    far.blocks -= 1
    memmove(&far.directory[at], &far.directory[at + 1], (far.blocks - at) * sizeof(far_entry_t))


cdef void append_keys(far_block_t* target, const far_block_t* source, uint32_t start) noexcept nogil:
    """Copy the keys of `source` from `start` on to the end of `target`."""
    cdef uint32_t n = source.count - start
    memcpy(&target.keys[target.count], &source.keys[start], n * sizeof(price_t))
    memcpy(&target.levels[target.count], &source.levels[start], n * sizeof(uint32_t))
    target.count += n


cdef void far_insert(far_t* far, price_t key, uint32_t level) noexcept nogil:
    cdef uint32_t i, at
    cdef far_block_t* block
    if far.blocks == 0:
        add_block(far, 0)
    i = block_of(far, key)
    block = far.directory[i].block
    if block.count == FAR_BLOCK:
        add_block(far, i + 1)
        append_keys(far.directory[i + 1].block, block, FAR_BLOCK // 2)
        block.count = FAR_BLOCK // 2
        far.directory[i + 1].first = far.directory[i + 1].block.keys[0]
        if key > far.directory[i + 1].first:
            i += 1
            block = far.directory[i].block
    at = position(block, key)
    memmove(&block.keys[at + 1], &block.keys[at], (block.count - at) * sizeof(price_t))
    memmove(&block.levels[at + 1], &block.levels[at], (block.count - at) * sizeof(uint32_t))
    block.keys[at] = key
    block.levels[at] = level
    block.count += 1
    far.directory[i].first = block.keys[0]
    far.count += 1


cdef void far_erase(far_t* far, price_t key) noexcept nogil:
    cdef uint32_t i = block_of(far, key)
    cdef far_block_t* block = far.directory[i].block
    cdef uint32_t at = position(block, key)
    block.count -= 1
    memmove(&block.keys[at], &block.keys[at + 1], (block.count - at) * sizeof(price_t))
    memmove(&block.levels[at], &block.levels[at + 1], (block.count - at) * sizeof(uint32_t))
    far.count -= 1
    if block.count == 0:
        drop_block(far, i)
        return
    far.directory[i].first = block.keys[0]
    if i + 1 < far.blocks and block.count + far.directory[i + 1].block.count <= MERGED:
        append_keys(block, far.directory[i + 1].block, 0)
        drop_block(far, i + 1)
