"""One side of a book: its price levels in order. See `ladder.pxd`."""

from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.string cimport memset

from fastpath.far cimport far_close, far_erase, far_from, far_insert, far_prepare
from fastpath.memory cimport memory_release, memory_reserve

cdef enum:
    MIN_WIDTH = 4096              # 64 * 64: a full summary word
    MAX_WIDTH = 262144            # 64 * 64 * 64: what three levels of bitmap span
    WIDENING = 4
    PATIENCE = 64                 # misses that never move the window
    MOVES_PER_MISS = 8            # levels a miss pays for when the window moves


cdef void ladder_init(ladder_t* ladder) noexcept nogil:
    memset(ladder, 0, sizeof(ladder_t))


cdef void ladder_close(ladder_t* ladder) noexcept nogil:
    far_close(&ladder.far)
    memory_release(ladder.cells, window_size(ladder.width))
    memset(ladder, 0, sizeof(ladder_t))


cdef inline size_t window_size(uint64_t width) noexcept nogil:
    """Bytes of the cells, the words and their summary."""
    return width * sizeof(uint32_t) + (width // 64 + width // 4096) * sizeof(uint64_t)


cdef bint allocate_window(ladder_t* ladder, uint64_t width) noexcept nogil:
    """An empty window, in one piece of memory. False: out of memory, the ladder is as it was."""
    cdef char* memory = <char*>memory_reserve(window_size(width))
    if memory == NULL:
        return False
    ladder.cells = <uint32_t*>memory
    ladder.words = <uint64_t*>(memory + width * sizeof(uint32_t))
    ladder.summary = ladder.words + width // 64
    ladder.top = 0
    ladder.width = width
    ladder.near = 0
    return True


cdef bint ladder_prepare(ladder_t* ladder) noexcept nogil:
    if ladder.width == 0 and not allocate_window(ladder, MIN_WIDTH):
        return False
    return far_prepare(&ladder.far)


cdef price_t base_around(price_t key, uint64_t width) noexcept nogil:
    """Base of a window with a quarter of its width for better prices than `key`, and the rest for worse ones."""
    cdef price_t quarter = <price_t>(width // 4)
    if key < INT64_MIN + quarter:
        return INT64_MIN
    return min(key - quarter, <price_t>(INT64_MAX - <price_t>width + 1))


cdef void ladder_start(ladder_t* ladder, price_t key) noexcept nogil:
    """The first level of an empty ladder comes: have the window there."""
    ladder.base = base_around(key, ladder.width)


cdef inline uint64_t next_cell(const ladder_t* ladder, uint64_t cell) noexcept nogil:
    """The first occupied cell at or after `cell`, going round. There is one."""
    cdef uint64_t word = cell >> 6
    cdef uint64_t block
    cdef uint64_t bits = ladder.words[word] >> (cell & 63)
    if bits != 0:
        return cell + __builtin_ctzll(bits)
    block = word >> 6
    bits = ladder.summary[block] & ((~<uint64_t>1) << (word & 63))
    if bits == 0:
        bits = ladder.top & ((~<uint64_t>1) << block)
        block = __builtin_ctzll(bits if bits != 0 else ladder.top)
        bits = ladder.summary[block]
    word = (block << 6) + __builtin_ctzll(bits)
    return (word << 6) + __builtin_ctzll(ladder.words[word])


cdef uint32_t window_from(const ladder_t* ladder, price_t key, price_t* found) noexcept nogil:
    """The first level of the window with a key >= `key`, and that key; NIL: there is none."""
    cdef uint64_t offset, cell
    if ladder.near == 0:
        return NIL
    if key < ladder.base:
        key = ladder.base
    offset = <uint64_t>key - <uint64_t>ladder.base
    if offset >= ladder.width:
        return NIL
    cell = next_cell(ladder, cell_of(ladder, key))
    offset += (cell - <uint64_t>key) & (ladder.width - 1)
    if offset >= ladder.width:
        return NIL                # went round: only better levels
    found[0] = ladder.base + <price_t>offset
    return ladder.cells[cell]


cdef uint32_t ladder_from(const ladder_t* ladder, price_t key, price_t* found) noexcept nogil:
    """The best level with a key >= `key`, and that key."""
    cdef price_t far_key = 0
    cdef uint32_t far_level
    cdef uint32_t level = window_from(ladder, key, found)
    if ladder.far.count == 0:
        return level
    far_level = far_from(&ladder.far, key, &far_key)
    if far_level != NIL and (level == NIL or far_key < found[0]):
        found[0] = far_key
        return far_level
    return level


cdef uint32_t ladder_after(const ladder_t* ladder, price_t key, price_t* found) noexcept nogil:
    return NIL if key == INT64_MAX else ladder_from(ladder, key + 1, found)


cdef void load(ladder_t* ladder) noexcept nogil:
    """Fetch the far levels that the window covers now."""
    cdef price_t key = 0
    cdef uint32_t level = far_from(&ladder.far, ladder.base, &key)
    while level != NIL and in_window(ladder, key):
        far_erase(&ladder.far, key)
        window_put(ladder, key, level)
        level = far_from(&ladder.far, ladder.base, &key)


cdef void move_window(ladder_t* ladder, price_t base) noexcept nogil:
    """Send away what the window will not cover at `base`, then fetch what it will."""
    cdef price_t key = ladder.base
    cdef uint32_t level = window_from(ladder, key, &key)
    while level != NIL:
        if <uint64_t>key - <uint64_t>base >= ladder.width:
            if not far_prepare(&ladder.far):
                load(ladder)      # out of memory: stay where we are
                return
            window_take(ladder, key)
            far_insert(&ladder.far, key, level)
        level = NIL if key == INT64_MAX else window_from(ladder, key + 1, &key)
    ladder.base = base
    load(ladder)


cdef void widen_window(ladder_t* ladder, uint64_t width) noexcept nogil:
    cdef ladder_t narrow = ladder[0]
    cdef price_t key = narrow.base
    cdef uint32_t level = window_from(&narrow, key, &key)
    if not allocate_window(ladder, width):
        return
    ladder.base = base_around(ladder.best_key, width)
    while level != NIL:
        window_put(ladder, key, level)
        level = NIL if key == INT64_MAX else window_from(&narrow, key + 1, &key)
    memory_release(narrow.cells, window_size(narrow.width))
    load(ladder)


cdef void count_miss(ladder_t* ladder) noexcept nogil:
    """A level outside the window came or went: see to it that most do not."""
    cdef price_t base
    cdef uint64_t distance
    ladder.misses += 1
    if ladder.misses <= ladder.near // MOVES_PER_MISS + PATIENCE or ladder.best == NIL:
        return
    ladder.misses = 0
    base = base_around(ladder.best_key, ladder.width)
    distance = (<uint64_t>base - <uint64_t>ladder.base if base > ladder.base
                else <uint64_t>ladder.base - <uint64_t>base)
    if distance > ladder.width // 8:
        move_window(ladder, base)
    elif ladder.width < MAX_WIDTH:
        widen_window(ladder, ladder.width * WIDENING)


cdef void ladder_insert_far(ladder_t* ladder, price_t key, uint32_t level) noexcept nogil:
    far_insert(&ladder.far, key, level)
    count_miss(ladder)


cdef void ladder_erase_far(ladder_t* ladder, price_t key) noexcept nogil:
    far_erase(&ladder.far, key)
    if key == ladder.best_key:
        ladder.best = ladder_from(ladder, key, &ladder.best_key)
    ladder.misses += 1            # only an insert moves the window: what ladder_reserve() promised the next one stays there for it
