"""Plain orders that trade on arrival. See `plain.pxd`."""

from fastpath.book.book cimport book_remove
from fastpath.standalone.engine cimport OWN_REPORTS, REPORT_TRADE
from fastpath.book.side cimport __builtin_prefetch
from fastpath.model.enums cimport CANCEL_REASON_IOC_REMAINDER
from fastpath.book.pool cimport id_map_take

cdef inline bint can_take(const pool_t* pool, const side_t* opposite, qty_t qty, const reports_t* reports) noexcept nogil:
    """Are all one may meet plain, and is there room to report them?"""
    cdef const level_t* best = &pool.levels[opposite.best]
    if opposite.icebergs > 0 or (opposite + <uint32_t>SIDE_INDEX_HIDDEN_BID).best != NIL:
        return False
    if min(<uint64_t>opposite.orders, <uint64_t>qty) + OWN_REPORTS <= reports_room(reports):
        return True
    return qty <= best.qty and best.count + <uint64_t>OWN_REPORTS <= reports_room(reports)      # it goes no further


cdef inline qty_t take_level(
    engine_t* engine, side_t* opposite, price_t price, uint8_t op, uint64_t subject, uint64_t id, qty_t left,
    reports_t* reports
) noexcept nogil:
    """Trade with those at the best price, oldest first. What is left."""
    cdef pool_t* pool = engine.pool
    cdef uint32_t handle = opposite.best
    cdef level_t* level = &pool.levels[handle]
    cdef uint32_t maker = level.links.next
    cdef uint32_t after
    cdef qty_t traded, maker_left
    cdef order_t* order
    while left > 0 and maker != handle:
        order = &pool.orders[maker]
        after = order.links.next
        __builtin_prefetch(&pool.orders[after])
        traded = min(left, order.qty)
        maker_left = order.qty - traded
        left -= traded
        level.qty -= traded
        write_report(reports, engine.seq, subject, REPORT_TRADE, op, 0, id, order.id, price, traded, left, maker_left)
        if maker_left > 0:
            order.qty = maker_left
            break
        id_map_give(engine.ids, maker)
        level.count -= 1
        opposite.orders -= 1
        maker = after
    level.links.next = maker
    if maker == handle:
        level.links.prev = handle
        book_leave(pool, opposite, handle)
    else:
        pool.orders[maker].links.prev = handle
    return left


cdef bint plain_take(
    engine_t* engine, book_t* book, const engine_command_t* command, uint32_t index, price_t key, qty_t qty, uint32_t taker,
    reports_t* reports
) noexcept nogil:
    cdef side_t* opposite = &book.sides[index ^ 1]
    cdef uint64_t subject = report_subject(book.number, <uint8_t>(index + 1))
    cdef uint8_t op = command.op
    cdef uint64_t id = command.id
    cdef qty_t left = qty
    if not can_take(engine.pool, opposite, qty, reports):
        return False
    plain_report(engine, book, index, command, REPORT_ACCEPTED if taker == NIL else REPORT_MODIFIED, op, 0, command.price, qty,
                 qty, reports)
    if taker != NIL:
        book_remove(book, taker)
    while left > 0 and opposite.best_key <= ~key and opposite.best != NIL:
        left = take_level(engine, opposite, opposite.best_key ^ side_mask(index ^ 1), op, subject, id, left, reports)
    opposite.open_qty -= qty - left
    if left == 0:
        if taker != NIL:
            id_map_give(engine.ids, taker)
        return True
    if op == ENGINE_NEW and command.time_in_force == TIME_IN_FORCE_IOC:
        write_report(reports, engine.seq, subject, REPORT_CANCELED, op, CANCEL_REASON_IOC_REMAINDER, id, 0, command.price, left, 0, 0)
        return True
    if taker == NIL:
        taker = id_map_take(engine.ids, id)
        engine.pool.orders[taker].owner = 0
    plain_rest(engine.pool, &book.sides[index], book_home(book, index), taker, key, left)
    return True
