"""Many books driven by client ids: packed commands in, packed reports out. See `engine.pxd`."""

from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.book.book cimport (
    BOOK_SIDES,
    book_crossed,
    book_first,
    book_free,
    book_hash,
    book_new,
    book_next,
    book_reduce,
    book_remove,
    book_validate,
    order_price,
    order_side,
)
from fastpath.standalone.prefetch cimport prefetch_batch, prefetch_t
from fastpath.book.matching cimport (
    FILL_MAKER_CANCELED,
    FILL_TRADE,
    MATCH_CANCELED,
    MATCH_REJECTED,
    MATCH_RESTED,
    TAKER_HIDDEN,
    TAKER_MARKET,
    TAKER_POST_ONLY,
    TAKER_SLIDE,
    amend_order,
    fill_t,
    match_crosses,
    match_fill_bound,
    match_fills_within,
    match_order,
    match_t,
    replace_order,
    sink_close,
    sink_init,
    incoming_t,
)
from fastpath.containers.memory cimport memory_release, memory_reserve
from fastpath.model.enums cimport (
    CANCEL_REASON_INSTRUMENT_RETIRED,
    CANCEL_REASON_REQUESTED,
    CANCEL_REASON_SELF_TRADE,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_CLIENT_ORDER_ID_CONFLICT,
    REJECT_REASON_INSTRUMENT_NOT_FOUND,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_ORDER_NOT_FOUND,
    SIDE_BUY,
    SIDE_SELL,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_IOC,
)
from fastpath.standalone.plain cimport plain_cancel, plain_modify, plain_move, plain_new, plain_reduce
from fastpath.book.pool cimport (
    NIL,
    id_map_free,
    id_map_get,
    id_map_give,
    id_map_has,
    id_map_new,
    id_map_reserve,
    id_map_slots,
    id_map_take,
    level_book,
    level_side_index,
    likely,
    order_leaves,
    pool_free,
    pool_new,
)

cdef enum:
    MAX_ORDERS = 67108864
    MAX_BOOKS = 65536
    FIRST_SINK = 1024             # fills; it grows to what one taker needs
    SHALLOW = 8192                # engines with fewer orders live in the near caches: looking ahead would only cost


cdef engine_t* engine_new(uint32_t max_orders, uint32_t max_books) noexcept nogil:
    cdef engine_t* engine
    if max_orders > MAX_ORDERS or max_books > MAX_BOOKS:
        return NULL
    engine = <engine_t*>memory_reserve(sizeof(engine_t))
    if engine == NULL:
        return NULL
    engine.max_orders = max_orders
    engine.max_books = max_books
    # One more for an order that arrives in a full engine and makes its own room.
    engine.pool = pool_new(max_orders + 1, id_map_slots(max_orders))
    if engine.pool != NULL:
        engine.ids = id_map_new(engine.pool)
    engine.books = <book_t**>calloc(max_books, sizeof(book_t*))
    if not sink_init(&engine.sink, FIRST_SINK) or engine.pool == NULL or engine.ids == NULL or engine.books == NULL:
        engine_free(engine)
        return NULL
    return engine


cdef void engine_free(engine_t* engine) noexcept nogil:
    cdef uint32_t i
    if engine == NULL:
        return
    if engine.books != NULL:
        for i in range(engine.max_books):
            book_free(engine.books[i])
    free(engine.books)
    sink_close(&engine.sink)
    id_map_free(engine.ids)
    pool_free(engine.pool)
    memory_release(engine, sizeof(engine_t))


cdef bint engine_add_book(engine_t* engine, uint32_t instrument) noexcept nogil:
    if instrument >= engine.max_books or engine.books[instrument] != NULL:
        return False
    engine.books[instrument] = book_new(engine.pool, instrument)
    return engine.books[instrument] != NULL


cdef void report_fills(
    engine_t* engine, const engine_command_t* command, const incoming_t* taker, reports_t* reports
) noexcept nogil:
    """Report what happened to the makers, and forget those that are gone."""
    cdef const fill_t* fill
    cdef uint64_t maker_id
    cdef uint64_t subject = report_subject(command.instrument, taker.side)
    cdef qty_t leaves = taker.qty
    cdef uint32_t i
    for i in range(engine.sink.count):
        fill = &engine.sink.fills[i]
        maker_id = engine.pool.orders[fill.maker].id
        if fill.kind == FILL_MAKER_CANCELED:
            write_report(reports, engine.seq, report_subject(command.instrument, 3 - taker.side), REPORT_CANCELED, command.op,
                         CANCEL_REASON_SELF_TRADE, maker_id, 0, fill.price, fill.qty, 0, 0)
        else:
            leaves -= fill.qty
            write_report(reports, engine.seq, subject, REPORT_TRADE if fill.kind == FILL_TRADE else REPORT_DECREMENTED,
                         command.op, 0, command.id, maker_id, fill.price, fill.qty, leaves, fill.maker_leaves)
        if fill.maker_leaves == 0:
            id_map_give(engine.ids, fill.maker)
    engine.sink.count = 0


cdef void report_match(
    engine_t* engine, uint8_t kind, const engine_command_t* command, const incoming_t* taker, const match_t* result,
    reports_t* reports
) noexcept nogil:
    """Report an order that was accepted or modified: itself, its fills, and the cancellation of what is left."""
    cdef uint64_t subject = report_subject(command.instrument, taker.side)
    write_report(reports, engine.seq, subject, kind, command.op, 0, command.id, 0,
                 result.price if result.outcome == MATCH_RESTED else taker.price, taker.qty, taker.qty, 0)
    if engine.sink.count > 0:
        report_fills(engine, command, taker, reports)
    if result.outcome == MATCH_CANCELED:
        write_report(reports, engine.seq, subject, REPORT_CANCELED, command.op, result.cancel_reason, command.id, 0,
                     taker.price, result.leaves, 0, 0)


cdef void reject(
    engine_t* engine, const engine_command_t* command, uint8_t side, uint8_t reason, reports_t* reports
) noexcept nogil:
    engine.seq += 1
    write_report(reports, engine.seq, report_subject(command.instrument, side), REPORT_REJECTED, command.op, reason,
                 command.id, 0, command.price, command.qty, 0, 0)


cdef inline void describe_command(
    engine_command_t* command, uint8_t op, uint32_t instrument, uint64_t id, uint8_t side, uint8_t time_in_force, uint8_t flags,
    price_t price, qty_t qty
) noexcept nogil:
    command.op, command.side, command.time_in_force, command.flags = op, side, time_in_force, flags
    command.instrument, command.id, command.price, command.qty = instrument, id, price, qty


cdef inline void describe(
    incoming_t* taker, const engine_command_t* command, const engine_extension_t* extension
) noexcept nogil:
    """The taker a command asks for; what a resting order already has is filled in by the caller."""
    taker.slot = NIL
    taker.owner = 0
    taker.side = command.side
    taker.time_in_force = command.time_in_force
    taker.stp_mode = 0
    taker.flags = command.flags
    taker.price = command.price
    taker.qty = command.qty
    taker.min_qty = 0
    taker.display_qty = 0
    if extension != NULL:
        taker.owner = extension.owner
        taker.stp_mode = extension.stp_mode
        taker.min_qty = extension.min_qty
        taker.display_qty = extension.display_qty


cdef inline bint finds_room(const engine_t* engine, const book_t* book, const incoming_t* taker) noexcept nogil:
    """May it rest, should anything be left of it? In a full engine only if it trades first: what is left then met somebody who is gone."""
    if engine.pool.count < engine.max_orders:
        return True
    return not taker.flags & (TAKER_POST_ONLY | TAKER_SLIDE) and match_crosses(book, taker.side, taker.price)


cdef inline bint fits(const book_t* book, const incoming_t* taker, const reports_t* reports) noexcept nogil:
    """Is there room for all this order can cause? There is for its own reports, always."""
    cdef uint64_t room = reports_room(reports) - OWN_REPORTS
    return match_fill_bound(book, taker) <= room or match_fills_within(book, taker, room)


cdef bint submit_new(
    engine_t* engine, book_t* book, const engine_command_t* command, const engine_extension_t* extension,
    reports_t* reports
) noexcept nogil:
    cdef incoming_t taker
    cdef match_t result
    if command.id == 0 or not SIDE_BUY <= command.side <= SIDE_SELL:
        reject(engine, command, command.side, REJECT_REASON_INVALID_COMMAND, reports)
        return True
    if id_map_has(engine.ids, command.id):
        reject(engine, command, command.side, REJECT_REASON_CLIENT_ORDER_ID_CONFLICT, reports)
        return True
    describe(&taker, command, extension)
    if not fits(book, &taker, reports):
        return False
    if not (taker.time_in_force == TIME_IN_FORCE_IOC or taker.time_in_force == TIME_IN_FORCE_FOK
            or taker.flags & TAKER_MARKET):
        if not finds_room(engine, book, &taker) or not id_map_reserve(engine.ids):
            reject(engine, command, command.side, REJECT_REASON_CAPACITY, reports)
            return True
        taker.slot = id_map_take(engine.ids, command.id)
    match_order(book, &taker, &engine.sink, &result)
    if result.outcome != MATCH_RESTED and taker.slot != NIL:
        id_map_give(engine.ids, taker.slot)
    if result.outcome == MATCH_REJECTED:
        reject(engine, command, command.side, result.reject_reason, reports)
        return True
    engine.seq += 1
    report_match(engine, REPORT_ACCEPTED, command, &taker, &result, reports)
    return True


cdef bint submit_change(
    engine_t* engine, book_t* book, uint32_t slot, const engine_command_t* command,
    const engine_extension_t* extension, reports_t* reports
) noexcept nogil:
    """MODIFY or MOVE of a resting order."""
    cdef incoming_t taker
    cdef match_t result
    cdef uint32_t book_side = level_side_index(&engine.pool.levels[engine.pool.orders[slot].level])
    describe(&taker, command, extension)
    taker.slot = slot
    taker.side = (book_side & 1) + 1
    taker.time_in_force = 0
    taker.flags = (command.flags & (TAKER_POST_ONLY | TAKER_SLIDE)) | (TAKER_HIDDEN if book_side > 1 else 0)
    taker.owner = engine.pool.orders[slot].owner
    taker.display_qty = engine.pool.icebergs[slot].display
    if command.op == ENGINE_MOVE:
        taker.qty = order_leaves(engine.pool, slot)
    if not fits(book, &taker, reports):
        return False
    if command.op == ENGINE_MOVE:
        replace_order(book, &taker, &engine.sink, &result)
    else:
        amend_order(book, &taker, &engine.sink, &result)
    if result.outcome == MATCH_REJECTED:
        reject(engine, command, taker.side, result.reject_reason, reports)
        return True
    engine.seq += 1
    report_match(engine, REPORT_MODIFIED, command, &taker, &result, reports)
    if result.outcome != MATCH_RESTED:
        id_map_give(engine.ids, slot)
    return True


cdef void cancel(
    engine_t* engine, book_t* book, uint32_t slot, const engine_command_t* command, uint8_t reason, reports_t* reports
) noexcept nogil:
    write_report(reports, engine.seq, report_subject(command.instrument, order_side(engine.pool, slot)), REPORT_CANCELED,
                 command.op, reason, command.id, 0, order_price(engine.pool, slot), order_leaves(engine.pool, slot), 0, 0)
    book_remove(book, slot)
    id_map_give(engine.ids, slot)


cdef void reduce(
    engine_t* engine, book_t* book, uint32_t slot, const engine_command_t* command, reports_t* reports
) noexcept nogil:
    cdef qty_t open_qty = order_leaves(engine.pool, slot)
    if command.qty <= 0:
        reject(engine, command, order_side(engine.pool, slot), REJECT_REASON_INVALID_COMMAND, reports)
        return
    engine.seq += 1
    if command.qty >= open_qty:
        cancel(engine, book, slot, command, CANCEL_REASON_REQUESTED, reports)
        return
    book_reduce(book, slot, command.qty)
    write_report(reports, engine.seq, report_subject(command.instrument, order_side(engine.pool, slot)), REPORT_REDUCED,
                 command.op, 0, command.id, 0, order_price(engine.pool, slot), command.qty, open_qty - command.qty, 0)


cdef bint submit_general(
    engine_t* engine, book_t* book, const engine_command_t* command, const engine_extension_t* extension, reports_t* reports
) noexcept nogil:
    """Any command, whatever is unusual or wrong about it. False: no room for its reports."""
    cdef uint32_t slot
    if reports_room(reports) < OWN_REPORTS:
        return False
    if book == NULL:
        reject(engine, command, 0, REJECT_REASON_INSTRUMENT_NOT_FOUND, reports)
        return True
    if not ENGINE_NEW <= command.op <= ENGINE_MOVE or command.flags & ~ENGINE_FLAGS:
        reject(engine, command, 0, REJECT_REASON_INVALID_COMMAND, reports)
        return True
    if command.op == ENGINE_NEW:
        return submit_new(engine, book, command, extension, reports)
    slot = id_map_get(engine.ids, command.id)
    if slot == NIL or level_book(&engine.pool.levels[engine.pool.orders[slot].level]) != command.instrument:
        reject(engine, command, 0, REJECT_REASON_ORDER_NOT_FOUND, reports)
        return True
    if command.op == ENGINE_CANCEL:
        engine.seq += 1
        cancel(engine, book, slot, command, CANCEL_REASON_REQUESTED, reports)
    elif command.op == ENGINE_REDUCE:
        reduce(engine, book, slot, command, reports)
    else:
        return submit_change(engine, book, slot, command, extension, reports)
    return True


cdef inline bint submit_plain(engine_t* engine, book_t* book, const engine_command_t* command, reports_t* reports) noexcept nogil:
    """The command if it is a plain one. False: it is not, and nothing was done."""
    if command.op == ENGINE_MOVE:
        return plain_move(engine, book, command, reports)
    if command.op == ENGINE_NEW:
        return plain_new(engine, book, command, reports)
    if command.op == ENGINE_CANCEL:
        return plain_cancel(engine, book, command, reports)
    if command.op == ENGINE_MODIFY:
        return plain_modify(engine, book, command, reports)
    return command.op == ENGINE_REDUCE and plain_reduce(engine, book, command, reports)


cdef bint engine_submit(
    engine_t* engine, const engine_command_t* command, const engine_extension_t* extension, reports_t* reports
) noexcept nogil:
    cdef book_t* book = engine_book(engine, command.instrument)
    if likely((book != NULL) & (command.flags == 0)) and submit_plain(engine, book, command, reports):
        return True
    return submit_general(engine, book, command, extension, reports)


cdef bint engine_new_order(
    engine_t* engine, uint32_t instrument, uint64_t id, uint8_t side, uint8_t time_in_force, uint8_t flags,
    price_t price, qty_t qty, reports_t* reports
) noexcept nogil:
    cdef engine_command_t command
    cdef book_t* book = engine_book(engine, instrument)
    describe_command(&command, ENGINE_NEW, instrument, id, side, time_in_force, flags, price, qty)
    if likely((book != NULL) & (flags == 0)) and plain_new(engine, book, &command, reports):
        return True
    return submit_general(engine, book, &command, NULL, reports)


cdef bint engine_cancel(engine_t* engine, uint32_t instrument, uint64_t id, reports_t* reports) noexcept nogil:
    cdef engine_command_t command
    cdef book_t* book = engine_book(engine, instrument)
    describe_command(&command, ENGINE_CANCEL, instrument, id, 0, 0, 0, 0, 0)
    if likely(book != NULL) and plain_cancel(engine, book, &command, reports):
        return True
    return submit_general(engine, book, &command, NULL, reports)


cdef bint engine_modify(
    engine_t* engine, uint32_t instrument, uint64_t id, price_t price, qty_t qty, reports_t* reports
) noexcept nogil:
    cdef engine_command_t command
    cdef book_t* book = engine_book(engine, instrument)
    describe_command(&command, ENGINE_MODIFY, instrument, id, 0, 0, 0, price, qty)
    if likely(book != NULL) and plain_modify(engine, book, &command, reports):
        return True
    return submit_general(engine, book, &command, NULL, reports)


cdef uint64_t engine_apply(
    engine_t* engine, const engine_command_t* commands, uint64_t n, reports_t* reports
) noexcept nogil:
    cdef uint64_t i = 0
    cdef const engine_command_t* command
    cdef const engine_extension_t* extension
    cdef book_t* book
    cdef prefetch_t ahead
    cdef bint deep = engine.pool.count > SHALLOW
    memset(&ahead, 0, sizeof(prefetch_t))
    while i < n:
        if deep:
            prefetch_batch(engine, commands, i, n, &ahead)
        command = &commands[i]
        book = engine_book(engine, command.instrument)
        if likely((book != NULL) & (command.flags == 0)) and submit_plain(engine, book, command, reports):
            i += 1
            continue
        extension = NULL
        if command.flags & ENGINE_EXTENDED:
            if i + 1 == n:
                break
            extension = <const engine_extension_t*>&commands[i + 1]
        if not submit_general(engine, book, command, extension, reports):
            break
        i += 1 + (extension != NULL)
    return i


cdef bint engine_retire_book(engine_t* engine, uint32_t instrument, reports_t* reports) noexcept nogil:
    cdef book_t* book = engine_book(engine, instrument)
    cdef engine_command_t command
    cdef uint64_t orders = 0
    cdef uint32_t book_side, slot
    if book == NULL:
        return False
    for book_side in range(BOOK_SIDES):
        orders += book.sides[book_side].orders
    if orders > reports_room(reports):
        return False
    engine.seq += 1
    command.op = ENGINE_CANCEL
    command.instrument = instrument
    for book_side in range(BOOK_SIDES):
        slot = book_first(book, book_side)
        while slot != NIL:
            command.id = engine.pool.orders[slot].id
            cancel(engine, book, slot, &command, CANCEL_REASON_INSTRUMENT_RETIRED, reports)
            slot = book_first(book, book_side)
    book_free(book)
    engine.books[instrument] = NULL
    return True


cdef uint64_t engine_hash(const engine_t* engine) noexcept nogil:
    cdef uint64_t state = 14695981039346656037U
    cdef uint32_t i
    for i in range(engine.max_books):
        if engine.books[i] != NULL:
            state = book_hash(engine.books[i], state)
    return state


cdef const char* engine_validate(const engine_t* engine) noexcept nogil:
    cdef const char* broken
    cdef const book_t* book
    cdef uint64_t orders = 0
    cdef uint64_t hashed = 0
    cdef uint32_t i, book_side, slot
    for i in range(engine.max_books):
        book = engine.books[i]
        if book == NULL:
            continue
        broken = book_validate(book)
        if broken != NULL:
            return broken
        if book_crossed(book):
            return "a book is crossed"
        for book_side in range(BOOK_SIDES):
            orders += book.sides[book_side].orders
            slot = book_first(book, book_side)
            while slot != NIL:
                if id_map_get(engine.ids, engine.pool.orders[slot].id) != slot:
                    return "a resting order is not found by its id"
                hashed += slot > engine.pool.by_id + 1
                slot = book_next(book, slot)
    if orders != engine.pool.count or hashed != engine.ids.hashed:
        return "slots, ids and resting orders differ in number"
    return NULL
