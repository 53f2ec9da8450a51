"""One side of a book: its price levels in order. See `side.pxd`."""

from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.string cimport memset

from fastpath.book.far_levels cimport far_close, far_erase, far_from, far_insert, far_prepare
from fastpath.containers.memory cimport memory_release, memory_reserve

cdef enum:
    MIN_WIDTH = 4096              # 64 * 64: a full summary word
    MAX_WIDTH = 262144            # 64 * 64 * 64: what three levels of bitmap span
    WIDENING = 4
    PATIENCE = 64                 # misses that never move the window
    MOVES_PER_MISS = 8            # pages a miss pays for when the window moves


cdef void ladder_init(ladder_t* ladder, page_t* pages) noexcept nogil:
    memset(ladder, 0, sizeof(ladder_t))
    ladder.best_key = INT64_MAX
    ladder.pages = pages


cdef void ladder_close(ladder_t* ladder) noexcept nogil:
    far_close(&ladder.far)
    memory_release(ladder.cells, window_size(ladder.width))
    memset(ladder, 0, sizeof(ladder_t))


cdef inline size_t window_size(uint64_t width) noexcept nogil:
    """Bytes of the cells, the words and their summary."""
    return width * sizeof(uint32_t) + (width // 64 + width // 4096) * sizeof(uint64_t)


cdef bint allocate_window(ladder_t* ladder, uint32_t width) noexcept nogil:
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


cdef inline void window_put(ladder_t* ladder, price_t page_key, uint32_t page) noexcept nogil:
    cdef uint64_t cell = <uint64_t>page_key & (ladder.width - 1)
    ladder.cells[cell] = page
    ladder.words[cell >> 6] |= <uint64_t>1 << (cell & 63)
    ladder.summary[cell >> 12] |= <uint64_t>1 << ((cell >> 6) & 63)
    ladder.top |= <uint64_t>1 << (cell >> 12)
    ladder.near += 1


cdef inline void window_take(ladder_t* ladder, price_t page_key) noexcept nogil:
    cdef uint64_t cell = <uint64_t>page_key & (ladder.width - 1)
    ladder.cells[cell] = NIL
    ladder.words[cell >> 6] &= ~(<uint64_t>1 << (cell & 63))
    if ladder.words[cell >> 6] == 0:
        ladder.summary[cell >> 12] &= ~(<uint64_t>1 << ((cell >> 6) & 63))
        if ladder.summary[cell >> 12] == 0:
            ladder.top &= ~(<uint64_t>1 << (cell >> 12))
    ladder.near -= 1


cdef price_t base_around(price_t page_key, uint32_t width) noexcept nogil:
    """Base of a window with a quarter of its width for better prices than a page, and the rest for worse ones."""
    cdef price_t first = INT64_MIN >> PAGE_SHIFT
    cdef price_t last = INT64_MAX >> PAGE_SHIFT
    return max(first, min(page_key - <price_t>(width // 4), last - <price_t>width + 1))


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


cdef uint32_t window_from(const ladder_t* ladder, price_t page_key, price_t* found) noexcept nogil:
    """The first page of the window with a page key >= `page_key`, and that; NIL: there is none."""
    cdef uint64_t offset, cell
    if ladder.near == 0:
        return NIL
    if page_key < ladder.base:
        page_key = ladder.base
    offset = <uint64_t>page_key - <uint64_t>ladder.base
    if offset >= ladder.width:
        return NIL
    cell = next_cell(ladder, <uint64_t>page_key & (ladder.width - 1))
    offset += (cell - <uint64_t>page_key) & (ladder.width - 1)
    if offset >= ladder.width:
        return NIL                # went round: only better ones
    found[0] = ladder.base + <price_t>offset
    return ladder.cells[cell]


cdef uint32_t page_from(const ladder_t* ladder, price_t page_key, price_t* found) noexcept nogil:
    """The best page with a page key >= `page_key`, and that; NIL: there is none."""
    cdef price_t far_key = 0
    cdef uint32_t far_page
    cdef uint32_t page = window_from(ladder, page_key, found)
    if ladder.far.count == 0:
        return page
    far_page = far_from(&ladder.far, page_key, &far_key)
    if far_page != NIL and (page == NIL or far_key < found[0]):
        found[0] = far_key
        return far_page
    return page


cdef uint32_t first_of_page(const ladder_t* ladder, price_t page_key, uint32_t page, uint32_t used, price_t* found) noexcept nogil:
    """The first level of a page among those whose bits are given: there is one."""
    cdef uint32_t at = __builtin_ctz(used)
    found[0] = <price_t>(<uint64_t>page_key << PAGE_SHIFT) + at
    return (page << PAGE_SHIFT) + at


cdef uint32_t ladder_after(const ladder_t* ladder, price_t key, price_t* found) noexcept nogil:
    cdef price_t page_key = key >> PAGE_SHIFT
    cdef uint32_t page = ladder_page(ladder, page_key)
    cdef uint32_t used = ladder.pages[page].used & (~<uint32_t>1 << level_bit(key))
    if used == 0:
        page = page_from(ladder, page_key + 1, &page_key)
        used = ladder.pages[page].used
    return NIL if page == NIL else first_of_page(ladder, page_key, page, used, found)


cdef void ladder_next_best(ladder_t* ladder) noexcept nogil:
    cdef price_t page_key = 0
    cdef uint32_t page = page_from(ladder, (ladder.best_key >> PAGE_SHIFT) + 1, &page_key)
    if page == NIL:
        ladder.best = NIL
        ladder.best_key = INT64_MAX
    else:
        ladder.best = first_of_page(ladder, page_key, page, ladder.pages[page].used, &ladder.best_key)


cdef void load(ladder_t* ladder) noexcept nogil:
    """Fetch the far pages that the window covers now."""
    cdef price_t page_key = 0
    cdef uint32_t page = far_from(&ladder.far, ladder.base, &page_key)
    while page != NIL and in_window(ladder, page_key):
        far_erase(&ladder.far, page_key)
        window_put(ladder, page_key, page)
        page = far_from(&ladder.far, ladder.base, &page_key)


cdef void move_window(ladder_t* ladder, price_t base) noexcept nogil:
    """Send away what the window will not cover at `base`, then fetch what it will."""
    cdef price_t page_key = ladder.base
    cdef uint32_t page = window_from(ladder, page_key, &page_key)
    while page != NIL:
        if <uint64_t>page_key - <uint64_t>base >= ladder.width:
            if not far_prepare(&ladder.far):
                load(ladder)      # out of memory: stay where we are
                return
            window_take(ladder, page_key)
            far_insert(&ladder.far, page_key, page)
        page = window_from(ladder, page_key + 1, &page_key)
    ladder.base = base
    load(ladder)


cdef void widen_window(ladder_t* ladder, price_t base, uint32_t width) noexcept nogil:
    cdef ladder_t narrow = ladder[0]
    cdef price_t page_key = narrow.base
    cdef uint32_t page = window_from(&narrow, page_key, &page_key)
    if not allocate_window(ladder, width):
        return
    ladder.base = base
    while page != NIL:
        window_put(ladder, page_key, page)
        page = window_from(&narrow, page_key + 1, &page_key)
    memory_release(narrow.cells, window_size(narrow.width))
    load(ladder)


cdef void follow_touch(ladder_t* ladder, price_t best_key) noexcept nogil:
    """Enough pages came and went outside the window: see to it that most do not."""
    cdef price_t best = best_key >> PAGE_SHIFT
    cdef price_t base = base_around(best, ladder.width)
    cdef uint64_t distance = (<uint64_t>base - <uint64_t>ladder.base if base > ladder.base
                              else <uint64_t>ladder.base - <uint64_t>base)
    ladder.misses = 0
    if distance > ladder.width // 8:
        move_window(ladder, base)
    elif ladder.width < MAX_WIDTH:
        widen_window(ladder, base_around(best, ladder.width * WIDENING), ladder.width * WIDENING)


cdef void ladder_insert(ladder_t* ladder, price_t key, uint32_t page) noexcept nogil:
    if ladder.near + ladder.far.count == 0:
        ladder.base = base_around(key >> PAGE_SHIFT, ladder.width)   # the first of an empty ladder: have the window there
    if in_window(ladder, key >> PAGE_SHIFT):
        window_put(ladder, key >> PAGE_SHIFT, page)
        return
    far_insert(&ladder.far, key >> PAGE_SHIFT, page)
    ladder.misses += 1
    if ladder.misses > ladder.near // MOVES_PER_MISS + PATIENCE:
        follow_touch(ladder, min(key, ladder.best_key))


cdef void ladder_erase(ladder_t* ladder, price_t key) noexcept nogil:
    if in_window(ladder, key >> PAGE_SHIFT):
        window_take(ladder, key >> PAGE_SHIFT)
        return
    far_erase(&ladder.far, key >> PAGE_SHIFT)
    ladder.misses += 1            # only an insert moves the window: what ladder_reserve() promised the next one stays there for it
