"""The order book of one instrument. See `book.pxd`."""

from fastpath.model.arith cimport saturating_add
from fastpath.book.side cimport (
    side_after,
    side_close,
    side_erase,
    side_find,
    side_init,
    side_insert,
    side_page,
)
from fastpath.containers.memory cimport memory_release, memory_reserve
from fastpath.book.pool cimport iceberg_t, is_level, level_book, order_leaves, pool_give_page, pool_take_page


cdef book_t* book_new(pool_t* pool, uint32_t number) noexcept nogil:
    cdef book_t* book = <book_t*>memory_reserve(sizeof(book_t))
    cdef uint32_t i
    if book == NULL:
        return NULL
    book.pool = pool
    book.number = number
    for i in range(BOOK_SIDES):
        side_init(&book.sides[i], pool.pages)
    return book


cdef void book_free(book_t* book) noexcept nogil:
    cdef uint32_t i
    if book != NULL:
        for i in range(BOOK_SIDES):
            side_close(&book.sides[i])
        memory_release(book, sizeof(book_t))


cdef uint32_t book_enter_page(pool_t* pool, side_t* book_side, uint32_t side, price_t key) noexcept nogil:
    """The page of a key, found or made."""
    cdef uint32_t page = side_page(book_side, key >> PAGE_SHIFT)
    if page == NIL:
        page = pool_take_page(pool, side)
        side_insert(book_side, key, page)
    if book_side.best == NIL:
        book_side.best = (page << PAGE_SHIFT) + level_bit(key)
        book_side.best_key = key
    return page


cdef void book_leave_page(pool_t* pool, side_t* book_side, price_t key, uint32_t page) noexcept nogil:
    side_erase(book_side, key)
    pool_give_page(pool, page)


cdef inline uint64_t refills_of(const iceberg_t* iceberg) noexcept nogil:
    if iceberg.reserve == 0:
        return 0
    return 1 + <uint64_t>(iceberg.reserve - 1) // <uint64_t>iceberg.display


cdef void book_announce_iceberg(book_t* book, uint32_t slot, side_t* book_side, qty_t qty, qty_t display) noexcept nogil:
    cdef iceberg_t* iceberg = &book.pool.icebergs[slot]
    iceberg.display = display
    iceberg.reserve = max(0, qty - display)
    book_side.icebergs += 1
    book_side.refills += refills_of(iceberg)


cdef void book_forget_iceberg(book_t* book, uint32_t slot, side_t* book_side) noexcept nogil:
    cdef iceberg_t* iceberg = &book.pool.icebergs[slot]
    book_side.open_qty -= iceberg.reserve
    book_side.refills -= refills_of(iceberg)
    book_side.icebergs -= iceberg.display > 0
    iceberg.reserve = iceberg.display = 0


cdef void book_reduce(book_t* book, uint32_t slot, qty_t by) noexcept nogil:
    cdef order_t* order = &book.pool.orders[slot]
    cdef level_t* level = &book.pool.levels[order.level]
    cdef side_t* book_side = &book.sides[level_side_index(&book.pool.levels[order.level])]
    cdef iceberg_t* iceberg
    cdef qty_t from_reserve
    book_side.open_qty -= by
    if level.home & LEVEL_ICEBERG:
        iceberg = &book.pool.icebergs[slot]
        from_reserve = min(by, iceberg.reserve)
        book_side.refills -= refills_of(iceberg)
        iceberg.reserve -= from_reserve
        book_side.refills += refills_of(iceberg)
        by -= from_reserve
    order.qty -= by
    level.qty -= by


cdef qty_t refill(book_t* book, uint32_t slot) noexcept nogil:
    """Show the next slice of an iceberg, behind all others of its price. Its size, 0: nothing is left."""
    cdef order_t* order = &book.pool.orders[slot]
    cdef uint32_t handle = order.level
    cdef level_t* level = &book.pool.levels[handle]
    cdef iceberg_t* iceberg = &book.pool.icebergs[slot]
    if iceberg.reserve == 0:
        return 0
    order.qty = min(iceberg.display, iceberg.reserve)
    iceberg.reserve -= order.qty
    level_add(level, order.qty)
    book.sides[level_side_index(&book.pool.levels[order.level])].refills -= 1
    book_unlink(book.pool, slot)
    book_append(book.pool, slot, handle)
    return order.qty


cdef qty_t book_take(book_t* book, uint32_t slot, qty_t qty, qty_t* leaves) noexcept nogil:
    cdef order_t* order = &book.pool.orders[slot]
    cdef level_t* level = &book.pool.levels[order.level]
    cdef qty_t refilled = 0
    order.qty -= qty
    level.qty -= qty
    book.sides[level_side_index(&book.pool.levels[order.level])].open_qty -= qty
    if level.home & LEVEL_ICEBERG and order.qty == 0:
        refilled = refill(book, slot)
    leaves[0] = order_leaves(book.pool, slot)
    if leaves[0] == 0:
        book_remove(book, slot)
    return refilled


cdef qty_t book_level_qty(const pool_t* pool, uint32_t handle) noexcept nogil:
    cdef const level_t* level = &pool.levels[handle]
    cdef uint32_t slot = level.links.next
    cdef qty_t total = 0
    if not level.home & LEVEL_HUGE:
        return level.qty
    while slot != handle:
        total = saturating_add(total, pool.orders[slot].qty)
        slot = pool.orders[slot].links.next
    return total


cdef void fill_depth(const pool_t* pool, uint32_t handle, uint32_t book_side, depth_t* out) noexcept nogil:
    cdef const level_t* level = &pool.levels[handle]
    out.price = level.key ^ side_mask(book_side)
    out.qty = book_level_qty(pool, handle)
    out.orders = level.count
    out.unused = 0


cdef uint32_t book_depth(const book_t* book, uint8_t side, depth_t* out, uint32_t n) noexcept nogil:
    cdef const side_t* book_side = &book.sides[side - 1]
    cdef uint32_t handle = book_side.best
    cdef uint32_t written = 0
    cdef price_t key = book_side.best_key
    while handle != NIL and written < n:
        fill_depth(book.pool, handle, side - 1, &out[written])
        written += 1
        handle = side_after(book_side, key, &key)
    return written


cdef bint book_level(const book_t* book, uint8_t side, price_t price, depth_t* out) noexcept nogil:
    cdef uint32_t handle = side_find(&book.sides[side - 1], price ^ side_mask(side - 1))
    if handle == NIL:
        return False
    fill_depth(book.pool, handle, side - 1, out)
    return True


cdef uint32_t book_first(const book_t* book, uint32_t book_side) noexcept nogil:
    cdef uint32_t handle = book.sides[book_side].best
    return NIL if handle == NIL else book.pool.levels[handle].links.next


cdef uint32_t book_next(const book_t* book, uint32_t slot) noexcept nogil:
    cdef const order_t* order = &book.pool.orders[slot]
    cdef const side_t* book_side
    cdef uint32_t handle
    cdef price_t key = 0
    if not is_level(book.pool, order.links.next):
        return order.links.next
    book_side = &book.sides[level_side_index(&book.pool.levels[order.level])]
    handle = side_after(book_side, book.pool.levels[order.level].key, &key)
    return NIL if handle == NIL else book.pool.levels[handle].links.next


cdef uint32_t book_orders(
    const book_t* book, uint8_t side, bint with_hidden, resting_t* out, uint32_t n
) noexcept nogil:
    cdef uint32_t written = 0
    cdef uint32_t hidden, slot
    for hidden in range(1 + <uint32_t>with_hidden):
        slot = book_first(book, side_index_of(side, hidden))
        while slot != NIL and written < n:
            out[written].price = order_price(book.pool, slot)
            out[written].qty = book.pool.orders[slot].qty
            out[written].reserve = book.pool.icebergs[slot].reserve
            out[written].slot = slot
            out[written].side = side
            out[written].hidden = <uint8_t>hidden
            written += 1
            slot = book_next(book, slot)
    return written


cdef inline uint64_t mix(uint64_t state, uint64_t value) noexcept nogil:
    """One step of the state hash: xor, multiply, fold the high bits back (the FNV-1a prime on 64-bit words)."""
    state = (state ^ value) * <uint64_t>1099511628211
    return state ^ (state >> 29)


cdef uint64_t book_hash(const book_t* book, uint64_t seed) noexcept nogil:
    cdef uint64_t state = mix(seed, book.number)
    cdef uint32_t index, slot
    cdef const order_t* order
    for index in range(BOOK_SIDES):
        state = mix(state, book.sides[index].orders)
        slot = book_first(book, index)
        while slot != NIL:
            order = &book.pool.orders[slot]
            state = mix(state, <uint64_t>order_price(book.pool, slot))
            state = mix(state, order.id)
            state = mix(state, <uint64_t>order.qty)
            state = mix(state, <uint64_t>book.pool.icebergs[slot].reserve)
            state = mix(state, <uint64_t>book.pool.icebergs[slot].display)
            state = mix(state, order.owner)
            slot = book_next(book, slot)
    return state


cdef const char* validate_level(
    const book_t* book, uint32_t index, uint32_t handle, uint64_t* open_qty, uint64_t* refills, uint64_t* icebergs
) noexcept nogil:
    cdef const level_t* level = &book.pool.levels[handle]
    cdef const order_t* order
    cdef uint32_t slot = level.links.next
    cdef uint32_t previous = handle
    cdef uint32_t count = 0
    cdef uint64_t qty = 0
    if level_book(level) != book.number or level_side_index(level) != index or level_side(handle) != index & 1:
        return "a level belongs to another book_side"
    if level.count == 0:
        return "an empty level is kept"
    while slot != handle:
        order = &book.pool.orders[slot]
        if order.links.prev != previous or order.level != handle:
            return "the links of a level's queue disagree"
        if order.qty <= 0:
            return "an order with nothing open rests"
        if book.pool.icebergs[slot].reserve < 0 or (book.pool.icebergs[slot].display > 0 and not level.home & LEVEL_ICEBERG):
            return "a reserve is negative or an iceberg not announced on its level"
        qty += <uint64_t>order.qty
        open_qty[0] += <uint64_t>(order.qty + book.pool.icebergs[slot].reserve)
        refills[0] += refills_of(&book.pool.icebergs[slot])
        icebergs[0] += book.pool.icebergs[slot].display > 0
        count += 1
        previous = slot
        slot = order.links.next
    if level.links.prev != previous or level.count != count or <uint64_t>level.qty != qty:
        return "a level's totals differ from its orders"
    return NULL


cdef const char* validate_side(const book_t* book, uint32_t index) noexcept nogil:
    cdef const side_t* book_side = &book.sides[index]
    cdef const level_t* level
    cdef uint32_t handle = book_side.best
    cdef uint32_t page = NIL
    cdef uint32_t used = 0
    cdef uint64_t pages = 0
    cdef uint32_t orders = 0
    cdef uint64_t open_qty = 0
    cdef uint64_t refills = 0
    cdef uint64_t icebergs = 0
    cdef price_t key = book_side.best_key
    cdef const char* broken
    while handle != NIL:
        level = &book.pool.levels[handle]
        if level.key != key:
            return "a level has another key than the one it is found by, or is out of order"
        if side_find(book_side, key) != handle:
            return "a level is not found by its price"
        broken = validate_level(book, index, handle, &open_qty, &refills, &icebergs)
        if broken != NULL:
            return broken
        if handle >> PAGE_SHIFT != page:
            page = handle >> PAGE_SHIFT
            pages += 1
            used = book.pool.pages[page].used
        used ^= <uint32_t>1 << level_bit(key)
        orders += level.count
        handle = side_after(book_side, key, &key)
        if handle >> PAGE_SHIFT != page and used != 0:
            return "a level counts as used and is not found"
    if book_side.near + book_side.far.count != pages or book_side.orders != orders:
        return "a side's counts differ from its levels"
    if book_side.open_qty != open_qty or book_side.refills != refills or book_side.icebergs != icebergs:
        return "a side's open quantity or icebergs differ from its orders"
    return NULL


cdef const char* book_validate(const book_t* book) noexcept nogil:
    cdef const char* broken
    cdef uint32_t index
    for index in range(BOOK_SIDES):
        broken = validate_side(book, index)
        if broken != NULL:
            return broken
    return NULL


cdef bint book_crossed(const book_t* book) noexcept nogil:
    cdef uint32_t bid, ask
    for bid in range(SIDE_INDEX_BID, BOOK_SIDES, 2):
        for ask in range(SIDE_INDEX_ASK, BOOK_SIDES, 2):
            if (book.sides[bid].best != NIL and book.sides[ask].best != NIL
                    and ~book.sides[bid].best_key >= book.sides[ask].best_key):
                return True
    return False
