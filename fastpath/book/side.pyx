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


cdef void side_init(side_t* book_side, page_t* pages) noexcept nogil:
    memset(book_side, 0, sizeof(side_t))
    book_side.best_key = INT64_MAX
    book_side.pages = pages


cdef void side_close(side_t* book_side) noexcept nogil:
    far_close(&book_side.far)
    memory_release(book_side.cells, window_size(book_side.width))
    memset(book_side, 0, sizeof(side_t))


cdef inline size_t window_size(uint64_t width) noexcept nogil:
    """Bytes of the cells, the words and their summary."""
    return width * sizeof(uint32_t) + (width // 64 + width // 4096) * sizeof(uint64_t)


cdef bint allocate_window(side_t* book_side, uint32_t width) noexcept nogil:
    """An empty window, in one piece of memory. False: out of memory, the book_side is as it was."""
    cdef char* memory = <char*>memory_reserve(window_size(width))
    if memory == NULL:
        return False
    book_side.cells = <uint32_t*>memory
    book_side.words = <uint64_t*>(memory + width * sizeof(uint32_t))
    book_side.summary = book_side.words + width // 64
    book_side.top = 0
    book_side.width = width
    book_side.near = 0
    return True


cdef bint side_prepare(side_t* book_side) noexcept nogil:
    if book_side.width == 0 and not allocate_window(book_side, MIN_WIDTH):
        return False
    return far_prepare(&book_side.far)


cdef inline void window_put(side_t* book_side, price_t page_key, uint32_t page) noexcept nogil:
    cdef uint64_t cell = <uint64_t>page_key & (book_side.width - 1)
    book_side.cells[cell] = page
    book_side.words[cell >> 6] |= <uint64_t>1 << (cell & 63)
    book_side.summary[cell >> 12] |= <uint64_t>1 << ((cell >> 6) & 63)
    book_side.top |= <uint64_t>1 << (cell >> 12)
    book_side.near += 1


cdef inline void window_take(side_t* book_side, price_t page_key) noexcept nogil:
    cdef uint64_t cell = <uint64_t>page_key & (book_side.width - 1)
    book_side.cells[cell] = NIL
    book_side.words[cell >> 6] &= ~(<uint64_t>1 << (cell & 63))
    if book_side.words[cell >> 6] == 0:
        book_side.summary[cell >> 12] &= ~(<uint64_t>1 << ((cell >> 6) & 63))
        if book_side.summary[cell >> 12] == 0:
            book_side.top &= ~(<uint64_t>1 << (cell >> 12))
    book_side.near -= 1


cdef price_t base_around(price_t page_key, uint32_t width) noexcept nogil:
    """Base of a window with a quarter of its width for better prices than a page, and the rest for worse ones."""
    cdef price_t first = INT64_MIN >> PAGE_SHIFT
    cdef price_t last = INT64_MAX >> PAGE_SHIFT
    return max(first, min(page_key - <price_t>(width // 4), last - <price_t>width + 1))


cdef inline uint64_t next_cell(const side_t* book_side, uint64_t cell) noexcept nogil:
    """The first occupied cell at or after `cell`, going round. There is one."""
    cdef uint64_t word = cell >> 6
    cdef uint64_t block
    cdef uint64_t bits = book_side.words[word] >> (cell & 63)
    if bits != 0:
        return cell + __builtin_ctzll(bits)
    block = word >> 6
    bits = book_side.summary[block] & ((~<uint64_t>1) << (word & 63))
    if bits == 0:
        bits = book_side.top & ((~<uint64_t>1) << block)
        block = __builtin_ctzll(bits if bits != 0 else book_side.top)
        bits = book_side.summary[block]
    word = (block << 6) + __builtin_ctzll(bits)
    return (word << 6) + __builtin_ctzll(book_side.words[word])


cdef uint32_t window_from(const side_t* book_side, price_t page_key, price_t* found) noexcept nogil:
    """The first page of the window with a page key >= `page_key`, and that; NIL: there is none."""
    cdef uint64_t offset, cell
    if book_side.near == 0:
        return NIL
    if page_key < book_side.base:
        page_key = book_side.base
    offset = <uint64_t>page_key - <uint64_t>book_side.base
    if offset >= book_side.width:
        return NIL
    cell = next_cell(book_side, <uint64_t>page_key & (book_side.width - 1))
    offset += (cell - <uint64_t>page_key) & (book_side.width - 1)
    if offset >= book_side.width:
        return NIL                # went round: only better ones
    found[0] = book_side.base + <price_t>offset
    return book_side.cells[cell]


cdef uint32_t page_from(const side_t* book_side, price_t page_key, price_t* found) noexcept nogil:
    """The best page with a page key >= `page_key`, and that; NIL: there is none."""
    cdef price_t far_key = 0
    cdef uint32_t far_page
    cdef uint32_t page = window_from(book_side, page_key, found)
    if book_side.far.count == 0:
        return page
    far_page = far_from(&book_side.far, page_key, &far_key)
    if far_page != NIL and (page == NIL or far_key < found[0]):
        found[0] = far_key
        return far_page
    return page


cdef uint32_t first_of_page(const side_t* book_side, price_t page_key, uint32_t page, uint32_t used, price_t* found) noexcept nogil:
    """The first level of a page among those whose bits are given: there is one."""
    cdef uint32_t at = __builtin_ctz(used)
    found[0] = <price_t>(<uint64_t>page_key << PAGE_SHIFT) + at
    return (page << PAGE_SHIFT) + at


cdef uint32_t side_after(const side_t* book_side, price_t key, price_t* found) noexcept nogil:
    cdef price_t page_key = key >> PAGE_SHIFT
    cdef uint32_t page = side_page(book_side, page_key)
    cdef uint32_t used = book_side.pages[page].used & (~<uint32_t>1 << level_bit(key))
    if used == 0:
        page = page_from(book_side, page_key + 1, &page_key)
        used = book_side.pages[page].used
    return NIL if page == NIL else first_of_page(book_side, page_key, page, used, found)


cdef void side_next_best(side_t* book_side) noexcept nogil:
    cdef price_t page_key = 0
    cdef uint32_t page = page_from(book_side, (book_side.best_key >> PAGE_SHIFT) + 1, &page_key)
    if page == NIL:
        book_side.best = NIL
        book_side.best_key = INT64_MAX
    else:
        book_side.best = first_of_page(book_side, page_key, page, book_side.pages[page].used, &book_side.best_key)


cdef void load(side_t* book_side) noexcept nogil:
    """Fetch the far pages that the window covers now."""
    cdef price_t page_key = 0
    cdef uint32_t page = far_from(&book_side.far, book_side.base, &page_key)
    while page != NIL and in_window(book_side, page_key):
        far_erase(&book_side.far, page_key)
        window_put(book_side, page_key, page)
        page = far_from(&book_side.far, book_side.base, &page_key)


cdef void move_window(side_t* book_side, price_t base) noexcept nogil:
    """Send away what the window will not cover at `base`, then fetch what it will."""
    cdef price_t page_key = book_side.base
    cdef uint32_t page = window_from(book_side, page_key, &page_key)
    while page != NIL:
        if <uint64_t>page_key - <uint64_t>base >= book_side.width:
            if not far_prepare(&book_side.far):
                load(book_side)      # out of memory: stay where we are
                return
            window_take(book_side, page_key)
            far_insert(&book_side.far, page_key, page)
        page = window_from(book_side, page_key + 1, &page_key)
    book_side.base = base
    load(book_side)


cdef void widen_window(side_t* book_side, price_t base, uint32_t width) noexcept nogil:
    cdef side_t narrow = book_side[0]
    cdef price_t page_key = narrow.base
    cdef uint32_t page = window_from(&narrow, page_key, &page_key)
    if not allocate_window(book_side, width):
        return
    book_side.base = base
    while page != NIL:
        window_put(book_side, page_key, page)
        page = window_from(&narrow, page_key + 1, &page_key)
    memory_release(narrow.cells, window_size(narrow.width))
    load(book_side)


cdef void follow_touch(side_t* book_side, price_t best_key) noexcept nogil:
    """Enough pages came and went outside the window: see to it that most do not."""
    cdef price_t best = best_key >> PAGE_SHIFT
    cdef price_t base = base_around(best, book_side.width)
    cdef uint64_t distance = (<uint64_t>base - <uint64_t>book_side.base if base > book_side.base
                              else <uint64_t>book_side.base - <uint64_t>base)
    book_side.misses = 0
    if distance > book_side.width // 8:
        move_window(book_side, base)
    elif book_side.width < MAX_WIDTH:
        widen_window(book_side, base_around(best, book_side.width * WIDENING), book_side.width * WIDENING)


cdef void side_insert(side_t* book_side, price_t key, uint32_t page) noexcept nogil:
    if book_side.near + book_side.far.count == 0:
        book_side.base = base_around(key >> PAGE_SHIFT, book_side.width)   # the first of an empty book_side: have the window there
    if in_window(book_side, key >> PAGE_SHIFT):
        window_put(book_side, key >> PAGE_SHIFT, page)
        return
    far_insert(&book_side.far, key >> PAGE_SHIFT, page)
    book_side.misses += 1
    if book_side.misses > book_side.near // MOVES_PER_MISS + PATIENCE:
        follow_touch(book_side, min(key, book_side.best_key))


cdef void side_erase(side_t* book_side, price_t key) noexcept nogil:
    if in_window(book_side, key >> PAGE_SHIFT):
        window_take(book_side, key >> PAGE_SHIFT)
        return
    far_erase(&book_side.far, key >> PAGE_SHIFT)
    book_side.misses += 1            # only an insert moves the window: what side_reserve() promised the next one stays there for it
