# The commands that make up nearly all of a real order flow, as straight lines: a plain order that comes, goes, shrinks, moves or takes.
#
# Plain: displayed, no iceberg, no flags, no self-trade prevention. Each function does the whole command or, having changed
# nothing, returns False: the general path (matching.pyx through engine.pyx) then decides, and reports what is wrong if
# something is. So what is rare or refused costs the common case nothing but a few branches that are always guessed right.
# Both paths move orders by the same primitives of book.pxd and pool.pxd.
#
# A key here is the price as the order's own side sees it (side.pxd); the other side sees ~key.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.book.book cimport (
    SIDE_INDEX_HIDDEN_BID, book_append, book_enter, book_home, book_leave, book_t, book_unlink,
    side_mask, level_add,
)
from fastpath.standalone.engine cimport (
    ENGINE_CANCEL, ENGINE_MODIFY, ENGINE_MOVE, ENGINE_NEW, ENGINE_REDUCE, OWN_REPORTS, REPORT_ACCEPTED, REPORT_CANCELED,
    REPORT_MODIFIED, REPORT_REDUCED, engine_command_t, engine_t, report_subject, reports_room, reports_t, write_report,
)
from fastpath.book.side cimport side_t
from fastpath.model.enums cimport CANCEL_REASON_REQUESTED, TIME_IN_FORCE_FOK, TIME_IN_FORCE_IOC
from fastpath.model.structs cimport price_t, qty_t
from fastpath.book.pool cimport (
    NIL, id_map_get, id_map_give, id_map_offer, level_side, level_t, order_t, pool_t, unlikely,
)


cdef inline bint meets(const side_t* opposite, price_t key) noexcept nogil:
    """Could an order going to `key` trade? True a little too often: an empty side counts as one at the worst price."""
    return opposite.best_key <= ~key or (opposite + <uint32_t>SIDE_INDEX_HIDDEN_BID).best_key <= ~key


cdef inline bint no_room(const side_t* book_side) noexcept nogil:
    """Of a book_side, for one more level."""
    return book_side.far.spare == NULL


cdef inline void link_behind(pool_t* pool, uint32_t slot, uint32_t handle, qty_t qty) noexcept nogil:
    """Queue an order on a level, with its quantity."""
    cdef level_t* level = &pool.levels[handle]
    pool.orders[slot].qty = qty
    level_add(level, qty)
    level.count += 1
    book_append(pool, slot, handle)


cdef inline void plain_rest(
    pool_t* pool, side_t* book_side, uint32_t home, uint32_t slot, price_t key, qty_t qty
) noexcept nogil:
    """Queue an order that rests nowhere, behind all others of its key."""
    book_side.orders += 1
    book_side.open_qty += qty
    link_behind(pool, slot, book_enter(pool, book_side, home, key), qty)


cdef inline void plain_report(
    engine_t* engine, const book_t* book, uint32_t index, const engine_command_t* command, uint8_t kind, uint8_t op,
    uint8_t reason, price_t price, qty_t qty, qty_t leaves, reports_t* reports
) noexcept nogil:
    """The command is carried out: say so. `op` is the command's, known to the compiler."""
    engine.seq += 1
    write_report(reports, engine.seq, report_subject(book.number, <uint8_t>(index + 1)), kind, op, reason, command.id, 0,
                 price, qty, leaves, 0)


# The same for orders that meet somebody: the functions below go on here, `taker` being the order that moves (NIL: a new one).
cdef bint plain_take(
    engine_t* engine, book_t* book, const engine_command_t* command, uint32_t index, price_t key, qty_t qty, uint32_t taker,
    reports_t* reports) noexcept nogil


cdef inline bint plain_new(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    cdef pool_t* pool = engine.pool
    cdef uint32_t index = <uint32_t>command.side - 1
    cdef price_t key = command.price ^ side_mask(index)
    cdef side_t* book_side = &book.sides[index & 1]
    cdef qty_t qty = command.qty
    cdef uint32_t slot
    if unlikely(command.id == 0 or index > 1 or qty <= 0 or command.time_in_force == TIME_IN_FORCE_FOK
                or reports_room(reports) < OWN_REPORTS):
        return False
    slot = id_map_offer(engine.ids, command.id)
    if unlikely(slot == NIL or no_room(book_side) or pool.count >= engine.max_orders):
        return False
    if unlikely(meets(&book.sides[index ^ 1], key) or command.time_in_force == TIME_IN_FORCE_IOC):
        return plain_take(engine, book, command, index, key, qty, NIL, reports)
    plain_report(engine, book, index, command, REPORT_ACCEPTED, ENGINE_NEW, 0, command.price, qty, qty, reports)
    pool.count += 1
    pool.orders[slot].id = command.id
    pool.orders[slot].owner = 0
    plain_rest(pool, book_side, book_home(book, index), slot, key, qty)
    return True


cdef inline uint32_t plain_find(
    const engine_t* engine, const book_t* book, uint64_t id, const reports_t* reports
) noexcept nogil:
    """The slot of a plain order of this book; NIL: it is not that, or there is no room for two reports."""
    cdef uint32_t slot = id_map_get(engine.ids, id)
    cdef uint32_t home = engine.pool.levels[engine.pool.orders[slot].level].home
    if unlikely(home & ~<uint32_t>1 != book_home(book, 0) or reports_room(reports) < OWN_REPORTS):
        return NIL                # the home of any other level, and of NIL, differs in more than the side
    return slot


cdef inline bint plain_cancel(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    cdef pool_t* pool = engine.pool
    cdef uint32_t slot = plain_find(engine, book, command.id, reports)
    cdef uint32_t handle = pool.orders[slot].level
    cdef level_t* level = &pool.levels[handle]
    cdef uint32_t index = level_side(handle)
    cdef side_t* book_side = &book.sides[index]
    cdef qty_t qty = pool.orders[slot].qty
    if unlikely(slot == NIL):
        return False
    plain_report(engine, book, index, command, REPORT_CANCELED, ENGINE_CANCEL, CANCEL_REASON_REQUESTED,
                 level.key ^ side_mask(index), qty, 0, reports)
    book_unlink(pool, slot)
    id_map_give(engine.ids, slot)
    book_side.orders -= 1
    book_side.open_qty -= qty
    level.qty -= qty
    level.count -= 1
    book_leave(pool, book_side, handle)
    return True


cdef inline bint plain_reduce(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    cdef pool_t* pool = engine.pool
    cdef uint32_t slot = plain_find(engine, book, command.id, reports)
    cdef order_t* order = &pool.orders[slot]
    cdef level_t* level = &pool.levels[order.level]
    cdef uint32_t index = level_side(order.level)
    if unlikely(slot == NIL or command.qty <= 0 or command.qty >= order.qty):
        return False
    order.qty -= command.qty
    level.qty -= command.qty
    book.sides[index].open_qty -= command.qty
    plain_report(engine, book, index, command, REPORT_REDUCED, ENGINE_REDUCE, 0, level.key ^ side_mask(index), command.qty,
                 order.qty, reports)
    return True


cdef inline void relocate(pool_t* pool, side_t* book_side, uint32_t home, uint32_t slot, price_t key, qty_t qty) noexcept nogil:
    """Take an order from its level to the back of another, with a new quantity; `open_qty` is the caller's."""
    cdef order_t* order = &pool.orders[slot]
    cdef uint32_t source = order.level
    cdef level_t* level = &pool.levels[source]
    book_unlink(pool, slot)
    level.qty -= order.qty
    level.count -= 1
    # The new level first: an order that leads the market to a better price leaves no best price to be looked for behind it.
    link_behind(pool, slot, book_enter(pool, book_side, home, key), qty)
    book_leave(pool, book_side, source)


cdef inline bint plain_move(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    cdef pool_t* pool = engine.pool
    cdef uint32_t slot = plain_find(engine, book, command.id, reports)
    cdef qty_t qty = pool.orders[slot].qty
    cdef uint32_t index = level_side(pool.orders[slot].level)
    cdef price_t key = command.price ^ side_mask(index)
    cdef side_t* book_side = &book.sides[index]
    if unlikely(slot == NIL or no_room(book_side)):
        return False
    if unlikely(meets(&book.sides[index ^ 1], key)):
        return plain_take(engine, book, command, index, key, qty, slot, reports)
    plain_report(engine, book, index, command, REPORT_MODIFIED, ENGINE_MOVE, 0, command.price, qty, qty, reports)
    relocate(pool, book_side, book_home(book, index), slot, key, qty)
    return True


cdef inline bint plain_modify(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    cdef pool_t* pool = engine.pool
    cdef uint32_t slot = plain_find(engine, book, command.id, reports)
    cdef order_t* order = &pool.orders[slot]
    cdef level_t* level = &pool.levels[order.level]
    cdef uint32_t index = level_side(order.level)
    cdef price_t key = command.price ^ side_mask(index)
    cdef side_t* book_side = &book.sides[index]
    cdef qty_t qty = command.qty
    cdef qty_t more = qty - order.qty
    if unlikely(slot == NIL or qty <= 0 or no_room(book_side)):
        return False
    if key == level.key and more <= 0:          # it keeps its place
        plain_report(engine, book, index, command, REPORT_MODIFIED, ENGINE_MODIFY, 0, command.price, qty, qty, reports)
        order.qty = qty
        level.qty += more
        book_side.open_qty += more
        return True
    if unlikely(meets(&book.sides[index ^ 1], key)):
        return plain_take(engine, book, command, index, key, qty, slot, reports)
    plain_report(engine, book, index, command, REPORT_MODIFIED, ENGINE_MODIFY, 0, command.price, qty, qty, reports)
    book_side.open_qty += more
    relocate(pool, book_side, book_home(book, index), slot, key, qty)
    return True
