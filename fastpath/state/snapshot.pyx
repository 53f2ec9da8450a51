"""The whole trading state as bytes, and back. Described in snapshot.pxd.

Format (little-endian): magic, u64 version, then sections in a fixed order, each a header (u32 tag, u32 size of an
element, u64 number of elements) and its elements. Who stores the bytes guards them with a checksum: they are trusted here as
far as their contents go, never as far as their lengths do.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastpath.state.transfer_ids cimport adjustment_t, adjustments_reindex
from fastpath.book.book cimport (
    BOOK_SIDES, book_can_rest, book_first, book_new, book_next, book_rest, book_t, book_take, order_hidden, order_price, order_side,
)
from fastpath.state.in_flight cimport change_t, changes_push
from fastpath.state.guards cimport is_guarded
from fastpath.containers.heap cimport heap_push, heap_reserve, heap_t
from fastpath.state.ledger cimport balance_t, ledger_reindex, ledger_take_rests, position_t
from fastpath.state.contingent_groups cimport group_t, contingent_reindex
from fastpath.book.mirror cimport mirror_new, mirror_t
from fastpath.model.structs cimport account_def_t, asset_def_t, instrument_def_t, money_t, price_t, qty_t, ts_t
from fastpath.state.orders cimport WAIT_TRANSIT, is_trailing, order_is_open, order_record_t, orders_reindex, owner_of, waits_for_price
from fastpath.book.pool cimport NIL, order_leaves, pool_take
from fastpath.state.route cimport is_mirrored
from fastpath.state.state cimport TRIGGER_HEAPS, find_instrument, instrument_t, measure_instrument, note_scales, reference_t, state_free, state_new

cdef enum:
    VERSION = 7

cdef const char* MAGIC = "TWSTATE\n"

STATE_VERSION = VERSION

cdef enum Section:                # in the order of the file
    COUNTERS = 1
    ASSETS
    ACCOUNTS
    DEADMAN_TIMERS
    INSTRUMENTS
    MIRRORS
    BALANCES
    POSITIONS
    ADJUSTMENTS
    GROUPS
    ORDERS
    RESTING
    EXPIRIES
    WAITING
    TRANSIT
    TOUCHED
    CHANGES
    RESTS

cdef struct section_t:
    uint32_t tag
    uint32_t size                 # of one element
    uint64_t count

cdef struct counters_t:
    uint64_t last_seq
    uint64_t event_seq
    uint64_t last_trade_id
    ts_t     next_deadman_ns
    uint64_t trading_status

cdef struct saved_instrument_t:
    instrument_def_t definition
    price_t  last_price
    reference_t reference
    uint32_t outside_base_row
    uint32_t outside_quote_row
    uint32_t fee_row
    uint32_t unused

cdef struct saved_mirror_t:
    uint64_t instrument
    mirror_t mirror               # its pointer is NULL

cdef struct saved_resting_t:      # in priority order within book, side and visibility
    uint32_t number               # record of the order
    uint32_t unused
    price_t  price
    qty_t    leaves
    qty_t    slice                # of it, what shows of an iceberg
    qty_t    display              # size of a whole slice; 0: no iceberg
    uint32_t hidden
    uint32_t side

cdef struct saved_heap_item_t:
    int64_t  key
    uint32_t number
    uint32_t heap                 # of the order's instrument


# -- saving --

cdef bytes section(uint32_t tag, const void* items, size_t size, size_t count):
    cdef section_t header
    header.tag = tag
    header.size = <uint32_t>size
    header.count = count
    return (PyBytes_FromStringAndSize(<const char*>&header, sizeof(header))
            + PyBytes_FromStringAndSize(<const char*>items, size * count))


cdef bytes save_counters(const state_t* state):
    cdef counters_t counters
    counters.last_seq = state.last_seq
    counters.event_seq = state.events.seq
    counters.last_trade_id = state.last_trade_id
    counters.next_deadman_ns = state.next_deadman_ns
    counters.trading_status = state.trading_status
    return section(COUNTERS, &counters, sizeof(counters), 1)


cdef bytes save_instruments(const state_t* state):
    cdef saved_instrument_t saved
    cdef saved_mirror_t saved_mirror
    cdef const instrument_t* instrument
    cdef uint32_t number
    cdef list instruments = [], mirrors = []
    memset(&saved, 0, sizeof(saved))
    for number in range(1, state.bounds.max_instruments + 1):
        instrument = &state.instruments[number]
        if instrument.definition.kind == 0:
            continue
        saved.definition = instrument.definition
        saved.last_price = instrument.last_price
        saved.reference = instrument.reference
        saved.outside_base_row = instrument.outside_base_row
        saved.outside_quote_row = instrument.outside_quote_row
        saved.fee_row = instrument.fee_row
        instruments.append(PyBytes_FromStringAndSize(<const char*>&saved, sizeof(saved)))
        if is_mirrored(instrument):
            saved_mirror.instrument = number
            saved_mirror.mirror = instrument.mirror[0]
            saved_mirror.mirror.resting = NULL
            mirrors.append(PyBytes_FromStringAndSize(<const char*>&saved_mirror, sizeof(saved_mirror)))
    return (section_of(INSTRUMENTS, instruments, sizeof(saved_instrument_t))
            + section_of(MIRRORS, mirrors, sizeof(saved_mirror_t)))


cdef bytes section_of(uint32_t tag, list elements, size_t size):
    return section(tag, NULL, size, 0)[:8] + (<uint64_t>len(elements)).to_bytes(8, "little") + b"".join(elements)


cdef void describe_resting(const state_t* state, uint32_t slot, saved_resting_t* saved) noexcept nogil:
    saved.number = <uint32_t>state.pool.orders[slot].id
    saved.unused = 0
    saved.price = order_price(state.pool, slot)
    saved.leaves = order_leaves(state.pool, slot)
    saved.slice = state.pool.orders[slot].qty
    saved.display = state.pool.icebergs[slot].display
    saved.hidden = order_hidden(state.pool, slot)
    saved.side = order_side(state.pool, slot)


cdef bytes save_resting(const state_t* state):
    cdef size_t count = 0
    cdef uint32_t number, book_side, slot
    cdef const book_t* book
    cdef saved_resting_t* items = <saved_resting_t*>malloc((state.orders.open_count + 1) * sizeof(saved_resting_t))
    if items == NULL:
        raise MemoryError("no memory for a snapshot of the open orders")
    try:
        for number in range(1, state.bounds.max_instruments + 1):
            book = state.instruments[number].book
            if book == NULL:
                continue
            for book_side in range(BOOK_SIDES):
                slot = book_first(book, book_side)
                while slot != NIL:
                    describe_resting(state, slot, &items[count])
                    count += 1
                    slot = book_next(book, slot)
        return section(RESTING, items, sizeof(saved_resting_t), count)
    finally:
        free(items)


cdef bytes heap_items(const heap_t* heap, uint32_t which):
    cdef uint32_t at
    cdef saved_heap_item_t* items = <saved_heap_item_t*>malloc((heap.count + 1) * sizeof(saved_heap_item_t))
    if items == NULL:
        raise MemoryError("no memory for a snapshot of the timers")
    try:
        for at in range(heap.count):
            items[at].key = heap.items[at].key
            items[at].number = heap.items[at].number
            items[at].heap = which
        return PyBytes_FromStringAndSize(<const char*>items, heap.count * sizeof(saved_heap_item_t))
    finally:
        free(items)


cdef bytes save_heaps(const state_t* state):
    cdef uint32_t number, heap
    cdef list waiting = []
    cdef bytes expiries = heap_items(&state.expiries, 0)
    cdef bytes transit = heap_items(&state.transit, 0)
    cdef bytes items
    for number in range(1, state.bounds.max_instruments + 1):
        for heap in range(TRIGGER_HEAPS):
            if state.instruments[number].waiting[heap].count > 0:
                waiting.append(heap_items(&state.instruments[number].waiting[heap], heap))
    items = b"".join(waiting)
    return (section(EXPIRIES, <const char*>expiries, sizeof(saved_heap_item_t), len(expiries) // sizeof(saved_heap_item_t))
            + section(WAITING, <const char*>items, sizeof(saved_heap_item_t), len(items) // sizeof(saved_heap_item_t))
            + section(TRANSIT, <const char*>transit, sizeof(saved_heap_item_t), len(transit) // sizeof(saved_heap_item_t)))


cdef bytes save_touched(const state_t* state):
    cdef uint32_t at
    cdef uint32_t room = state.bounds.max_instruments + 1
    cdef list numbers = [state.touched.items[(state.touched.first + at) % room] for at in range(state.touched.count)]
    return section_of(TOUCHED, [(<object>number).to_bytes(4, "little") for number in numbers], sizeof(uint32_t))


cdef bytes snapshot_save(const state_t* state):
    cdef uint32_t assets = state.bounds.max_assets
    cdef uint32_t accounts = state.bounds.max_accounts
    while assets > 0 and state.assets[assets].kind == 0:
        assets -= 1
    while accounts > 0 and state.accounts[accounts].kind == 0:
        accounts -= 1
    return b"".join([
        MAGIC[:8],
        (<object>VERSION).to_bytes(8, "little"),
        save_counters(state),
        section(ASSETS, &state.assets[1], sizeof(asset_def_t), assets),
        section(ACCOUNTS, &state.accounts[1], sizeof(account_def_t), accounts),
        section(DEADMAN_TIMERS, &state.deadman_ns[1], sizeof(ts_t), accounts),
        save_instruments(state),
        section(BALANCES, state.ledger.balances, sizeof(balance_t), state.ledger.balance_count),
        section(POSITIONS, state.ledger.positions, sizeof(position_t), state.ledger.position_count),
        section(ADJUSTMENTS, state.adjustments.items, sizeof(adjustment_t), state.adjustments.count),
        section(GROUPS, state.contingent.groups, sizeof(group_t), state.contingent.count),
        section(ORDERS, state.orders.records, sizeof(order_record_t), state.orders.count),
        save_resting(state),
        save_heaps(state),
        save_touched(state),
        section(CHANGES, state.changes.items, sizeof(change_t), state.changes.count),
        section(RESTS, state.ledger.rests, sizeof(money_t), state.ledger.position_count),
    ])


# -- loading --

cdef struct cursor_t:
    const uint8_t* at
    const uint8_t* end


cdef const void* take(cursor_t* cursor, uint32_t tag, size_t size, uint64_t most, uint64_t* count) except NULL:
    """The elements of the next section. ValueError if it is another one, or does not fit."""
    cdef section_t header
    cdef const uint8_t* items
    if <size_t>(cursor.end - cursor.at) < sizeof(header):
        raise ValueError("the snapshot of the state is cut short")
    memcpy(&header, cursor.at, sizeof(header))
    if header.tag != tag or header.size != size:
        raise ValueError(f"section {header.tag} with elements of {header.size} bytes; this build reads {tag} with {size}")
    if header.count > most:
        raise ValueError(f"section {tag} holds {header.count} elements, more than the engine's limit of {most}: raise it")
    items = cursor.at + sizeof(header)
    if header.count > <size_t>(cursor.end - items) // size:
        raise ValueError("the snapshot of the state is cut short")
    cursor.at = items + header.count * size
    count[0] = header.count
    return items


cdef int load_definitions(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, timers
    cdef const void* items = take(cursor, COUNTERS, sizeof(counters_t), 1, &count)
    cdef counters_t counters
    if count != 1:
        raise ValueError("a snapshot of the state without counters")
    memcpy(&counters, items, sizeof(counters))
    state.last_seq = counters.last_seq
    state.events.seq = counters.event_seq
    state.last_trade_id = counters.last_trade_id
    state.next_deadman_ns = counters.next_deadman_ns
    state.trading_status = <uint8_t>counters.trading_status
    items = take(cursor, ASSETS, sizeof(asset_def_t), state.bounds.max_assets, &count)
    memcpy(&state.assets[1], items, count * sizeof(asset_def_t))
    note_scales(state)
    items = take(cursor, ACCOUNTS, sizeof(account_def_t), state.bounds.max_accounts, &count)
    memcpy(&state.accounts[1], items, count * sizeof(account_def_t))
    items = take(cursor, DEADMAN_TIMERS, sizeof(ts_t), state.bounds.max_accounts, &timers)
    memcpy(&state.deadman_ns[1], items, timers * sizeof(ts_t))
    return 0


cdef int load_instruments(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, at
    cdef saved_instrument_t saved
    cdef const saved_mirror_t* saved_mirrors
    cdef instrument_t* instrument
    cdef book_t* resting
    cdef uint32_t number
    cdef const saved_instrument_t* items = <const saved_instrument_t*>take(
        cursor, INSTRUMENTS, sizeof(saved_instrument_t), state.bounds.max_instruments, &count)
    for at in range(count):
        memcpy(&saved, &items[at], sizeof(saved))
        number = saved.definition.instrument
        if not 0 < number <= state.bounds.max_instruments:
            raise ValueError(f"instrument {number} is beyond the engine's limit of {state.bounds.max_instruments}: raise it")
        instrument = &state.instruments[number]
        instrument.definition = saved.definition
        instrument.last_price = saved.last_price
        instrument.reference = saved.reference
        instrument.outside_base_row = saved.outside_base_row
        instrument.outside_quote_row = saved.outside_quote_row
        instrument.fee_row = saved.fee_row
        measure_instrument(state, instrument)
        if saved.definition.mirrored:
            instrument.mirror = mirror_new(state.pool, number)
            instrument.book = instrument.mirror.resting if instrument.mirror != NULL else NULL
        else:
            instrument.book = book_new(state.pool, number)
        if instrument.book == NULL:
            raise MemoryError
    saved_mirrors = <const saved_mirror_t*>take(cursor, MIRRORS, sizeof(saved_mirror_t), state.bounds.max_instruments, &count)
    for at in range(count):
        number = <uint32_t>saved_mirrors[at].instrument
        if not 0 < number <= state.bounds.max_instruments or not is_mirrored(&state.instruments[number]):
            raise ValueError(f"a mirrored book of instrument {number}, which is not mirrored")
        resting = state.instruments[number].mirror.resting
        memcpy(state.instruments[number].mirror, &saved_mirrors[at].mirror, sizeof(mirror_t))
        state.instruments[number].mirror.resting = resting
    return 0


cdef int load_records(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count
    cdef uint32_t number
    cdef order_record_t* order
    cdef const void* items = take(cursor, BALANCES, sizeof(balance_t), state.ledger.max_rows, &count)
    memcpy(state.ledger.balances, items, count * sizeof(balance_t))
    state.ledger.balance_count = <uint32_t>count
    items = take(cursor, POSITIONS, sizeof(position_t), state.ledger.max_rows, &count)
    memcpy(state.ledger.positions, items, count * sizeof(position_t))
    state.ledger.position_count = <uint32_t>count
    items = take(cursor, ADJUSTMENTS, sizeof(adjustment_t), state.adjustments.max_count, &count)
    memcpy(state.adjustments.items, items, count * sizeof(adjustment_t))
    state.adjustments.count = <uint32_t>count
    items = take(cursor, GROUPS, sizeof(group_t), state.contingent.max_groups, &count)
    memcpy(state.contingent.groups, items, count * sizeof(group_t))
    state.contingent.count = <uint32_t>count
    items = take(cursor, ORDERS, sizeof(order_record_t), state.orders.max_orders, &count)
    memcpy(state.orders.records, items, count * sizeof(order_record_t))
    state.orders.count = <uint32_t>count
    for number in range(state.orders.count):
        order = &state.orders.records[number]
        if not order_is_open(order):
            continue
        order.slot = pool_take(state.pool)
        if order.slot == NIL:
            raise ValueError(f"more than {state.bounds.max_open_orders} orders are open: raise the engine's limit")
        state.pool.orders[order.slot].id = number
        if find_instrument(state, order.instrument) != NULL:
            state.instruments[order.instrument].guarded_orders += is_guarded(order)
    if (not ledger_reindex(&state.ledger) or not adjustments_reindex(&state.adjustments)
            or not contingent_reindex(&state.contingent) or not orders_reindex(&state.orders)):
        raise MemoryError
    return 0


cdef order_record_t* open_order(state_t* state, uint32_t number) except NULL:
    if number >= state.orders.count or not order_is_open(&state.orders.records[number]):
        raise ValueError(f"order record {number} is not open, yet it rests or waits")
    return &state.orders.records[number]


cdef int load_resting(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, at
    cdef const saved_resting_t* item
    cdef const saved_resting_t* items = <const saved_resting_t*>take(
        cursor, RESTING, sizeof(saved_resting_t), state.orders.open_count, &count)
    cdef book_t* book
    cdef uint32_t slot
    cdef qty_t whole, leaves
    for at in range(count):
        item = &items[at]
        slot = open_order(state, item.number).slot
        book = state.instruments[state.orders.records[item.number].instrument].book
        if (book == NULL or not 1 <= item.side <= 2 or not 0 < item.slice <= item.leaves
                or (item.display != 0 and item.display < item.slice)):
            raise ValueError(f"order record {item.number} cannot rest like that")
        whole = item.leaves if item.display == 0 else item.leaves - item.slice + item.display
        if not book_can_rest(book, <uint8_t>item.side, item.hidden):
            raise MemoryError
        state.pool.orders[slot].owner = owner_of(&state.orders, &state.orders.records[item.number])
        book_rest(book, slot, <uint8_t>item.side, item.hidden, item.price, whole, item.display)
        if item.slice < item.display:                   # what was traded of its slice is taken off again
            book_take(book, slot, item.display - item.slice, &leaves)
    return 0


cdef int load_heaps(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, at
    cdef instrument_t* instrument
    cdef order_record_t* order
    cdef uint32_t heap
    cdef const saved_heap_item_t* items = <const saved_heap_item_t*>take(
        cursor, EXPIRIES, sizeof(saved_heap_item_t), state.orders.open_count, &count)
    if not heap_reserve(&state.expiries, state.pool.count + 1):
        raise MemoryError
    for at in range(count):
        order = open_order(state, items[at].number)
        heap_push(&state.expiries, state.expiry_places, items[at].key, items[at].number, order.slot)
    items = <const saved_heap_item_t*>take(cursor, WAITING, sizeof(saved_heap_item_t), state.orders.open_count, &count)
    for at in range(count):
        order = open_order(state, items[at].number)
        if not waits_for_price(order) or items[at].heap >= TRIGGER_HEAPS or state.instruments[order.instrument].book == NULL:
            raise ValueError(f"order record {items[at].number} waits for nothing")
        instrument = &state.instruments[order.instrument]
        instrument.waiting_count += 1
        instrument.trailing_count += is_trailing(order)
        for heap in range(TRIGGER_HEAPS):               # a trailing one may move to another
            if not heap_reserve(&instrument.waiting[heap], instrument.waiting_count):
                raise MemoryError
        heap_push(&instrument.waiting[items[at].heap], state.waiting_places, items[at].key, items[at].number, order.slot)
    items = <const saved_heap_item_t*>take(cursor, TRANSIT, sizeof(saved_heap_item_t), state.orders.open_count, &count)
    if not heap_reserve(&state.transit, state.pool.count + 1):
        raise MemoryError
    for at in range(count):
        order = open_order(state, items[at].number)
        if order.waiting != WAIT_TRANSIT:
            raise ValueError(f"order record {items[at].number} is not on its way")
        heap_push(&state.transit, state.waiting_places, items[at].key, items[at].number, order.slot)
    return 0


cdef int load_touched(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, at
    cdef const uint32_t* items = <const uint32_t*>take(cursor, TOUCHED, sizeof(uint32_t), state.bounds.max_instruments, &count)
    for at in range(count):
        if find_instrument(state, items[at]) == NULL or state.instruments[items[at]].touched:
            raise ValueError(f"instrument {items[at]} cannot be in the queue of those whose prices moved")
        state.instruments[items[at]].touched = 1
        state.touched.items[at] = items[at]
    state.touched.count = <uint32_t>count
    return 0


cdef int load_changes(state_t* state, cursor_t* cursor) except -1:
    cdef uint64_t count, at
    cdef uint64_t most = 2 * <uint64_t>state.orders.count                # one of each kind an order
    cdef const change_t* items = <const change_t*>take(cursor, CHANGES, sizeof(change_t), most, &count)
    cdef change_t change
    for at in range(count):
        memcpy(&change, &items[at], sizeof(change))
        if change.number >= state.orders.count or not state.orders.records[change.number].changes & change.kind:
            raise ValueError(f"order record {change.number} has no such change on its way")
        if not changes_push(&state.changes, &change):
            raise MemoryError
    return 0


cdef state_t* snapshot_load(const unsigned char[::1] data, bounds_t bounds) except NULL:
    cdef state_t* state
    cdef cursor_t cursor
    cdef uint64_t version = 0, count
    cdef const void* rests
    if data.shape[0] < 16 or memcmp(&data[0], MAGIC, 8) != 0:
        raise ValueError("these bytes are no snapshot of an exchange")
    memcpy(&version, &data[8], sizeof(version))
    if version != VERSION:
        raise ValueError(f"the snapshot of the state has version {version}; this build reads version {VERSION}")
    cursor.at = &data[0] + 16
    cursor.end = &data[0] + data.shape[0]
    state = state_new(bounds)
    if state == NULL:
        raise MemoryError("no memory for an exchange of these bounds")
    try:
        load_definitions(state, &cursor)
        load_instruments(state, &cursor)
        load_records(state, &cursor)
        load_resting(state, &cursor)
        load_heaps(state, &cursor)
        load_touched(state, &cursor)
        load_changes(state, &cursor)
        rests = take(&cursor, RESTS, sizeof(money_t), state.ledger.position_count, &count)
        ledger_take_rests(&state.ledger, rests, count)
        if cursor.at != cursor.end:
            raise ValueError("the snapshot of the state is followed by unknown bytes")
    except BaseException:
        state_free(state)
        raise
    return state
