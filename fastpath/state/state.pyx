"""Birth, death and fingerprint of the trading state. Described in state.pxd."""

from libc.stdint cimport INT64_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastpath.state.transfer_ids cimport adjustments_close, adjustments_hash, adjustments_init
from fastpath.model.arith cimport mix
from fastpath.book.book cimport book_free, book_hash
from fastpath.state.in_flight cimport changes_close, changes_hash
from fastpath.containers.heap cimport heap_close
from fastpath.state.ledger cimport ledger_close, ledger_hash, ledger_init
from fastpath.state.contingent_groups cimport contingent_close, contingent_hash, contingent_init
from fastpath.book.matching cimport sink_close, sink_init
from fastpath.containers.memory cimport memory_release, memory_reserve
from fastpath.book.mirror cimport mirror_free, mirror_hash
from fastpath.model.enums cimport TRADING_STATUS_OPEN
from fastpath.model.structs cimport account_def_t, asset_def_t, command_t, ts_t
from fastpath.state.orders cimport orders_close, orders_hash, orders_init
from fastpath.book.pool cimport pool_free, pool_new
from fastpath.state.route cimport is_mirrored

cdef enum:
    SINK_CAPACITY = 4096          # at least mirror.MIRROR_LEVELS
    MAX_ADJUSTMENTS = 1 << 20     # with a request id, ever


cdef inline size_t places_size(const bounds_t* bounds) noexcept nogil:
    return (<size_t>bounds.max_open_orders + 1) * sizeof(uint32_t)


cdef state_t* state_new(bounds_t bounds) noexcept nogil:
    cdef state_t* state = <state_t*>calloc(1, sizeof(state_t))
    cdef size_t max_rows = 4 * (<size_t>bounds.max_accounts + bounds.max_orders)
    if state == NULL:
        return NULL
    state.bounds = bounds
    state.trading_status = TRADING_STATUS_OPEN
    state.assets = <asset_def_t*>calloc(<size_t>bounds.max_assets + 1, sizeof(asset_def_t))
    state.scales = <uint8_t*>calloc(<size_t>bounds.max_assets + 1, 1)
    state.instruments = <instrument_t*>calloc(<size_t>bounds.max_instruments + 1, sizeof(instrument_t))
    state.accounts = <account_def_t*>calloc(<size_t>bounds.max_accounts + 1, sizeof(account_def_t))
    state.pool = pool_new(bounds.max_open_orders, 0)
    state.expiry_places = <uint32_t*>memory_reserve(places_size(&bounds))
    state.waiting_places = <uint32_t*>memory_reserve(places_size(&bounds))
    state.touched.items = <uint32_t*>calloc(<size_t>bounds.max_instruments + 1, sizeof(uint32_t))
    state.deadman_ns = <ts_t*>calloc(<size_t>bounds.max_accounts + 1, sizeof(ts_t))
    state.next_deadman_ns = INT64_MAX
    if (state.assets == NULL or state.scales == NULL or state.instruments == NULL or state.accounts == NULL or state.pool == NULL
            or state.expiry_places == NULL or state.waiting_places == NULL
            or state.touched.items == NULL or state.deadman_ns == NULL
            or not ledger_init(&state.ledger, bounds.max_accounts, <uint32_t>min(max_rows, <size_t>1 << 24))
            or not adjustments_init(&state.adjustments, MAX_ADJUSTMENTS)
            or not contingent_init(&state.contingent, bounds.max_orders, bounds.max_open_orders)
            or not orders_init(&state.orders, bounds.max_orders, bounds.max_accounts)
            or not sink_init(&state.sink, SINK_CAPACITY)):
        state_free(state)
        return NULL
    return state


cdef void state_free(state_t* state) noexcept nogil:
    cdef uint32_t number, heap
    if state == NULL:
        return
    if state.instruments != NULL:
        for number in range(1, state.bounds.max_instruments + 1):
            for heap in range(TRIGGER_HEAPS):
                heap_close(&state.instruments[number].waiting[heap])
            if is_mirrored(&state.instruments[number]):
                mirror_free(state.instruments[number].mirror)
            elif state.instruments[number].book != NULL:
                book_free(state.instruments[number].book)
    pool_free(state.pool)
    ledger_close(&state.ledger)
    adjustments_close(&state.adjustments)
    contingent_close(&state.contingent)
    orders_close(&state.orders)
    sink_close(&state.sink)
    heap_close(&state.expiries)
    heap_close(&state.transit)
    changes_close(&state.changes)
    memory_release(state.expiry_places, places_size(&state.bounds))
    memory_release(state.waiting_places, places_size(&state.bounds))
    free(state.touched.items)
    free(state.deadman_ns)
    free(state.assets)
    free(state.scales)
    free(state.instruments)
    free(state.accounts)
    free(state)


cdef uint64_t record_hash(uint64_t seed, const void* record) noexcept nogil:
    """Of a definition record without its seq and ts_ns."""
    cdef const uint64_t* words = <const uint64_t*>record
    cdef size_t word
    for word in range(2, sizeof(command_t) // sizeof(uint64_t)):
        seed = mix(seed, words[word])
    return seed


cdef uint64_t instrument_hash(const instrument_t* instrument) noexcept nogil:
    cdef uint64_t h = mix(record_hash(5, &instrument.definition), <uint64_t>instrument.last_price)
    h = mix(mix(h, <uint64_t>instrument.reference.mark_price), <uint64_t>instrument.reference.index_price)
    h = mix(h, <uint64_t>instrument.reference.until_ns)
    if instrument.reference.valuation_until_ns != 0:    # never told: as in journals from before there were any
        h = mix(mix(h, <uint64_t>instrument.reference.valuation_price), <uint64_t>instrument.reference.valuation_until_ns)
    if is_mirrored(instrument):
        return mirror_hash(instrument.mirror, h)
    return book_hash(instrument.book, h)


cdef uint64_t state_hash(const state_t* state) noexcept nogil:
    cdef uint64_t total = ledger_hash(&state.ledger) + orders_hash(&state.orders)
    cdef uint64_t h = mix(mix(mix(4, state.last_seq), state.last_trade_id), state.events.seq)
    cdef uint32_t number
    for number in range(state.touched.count):
        h = mix(h, state.touched.items[(state.touched.first + number) % (state.bounds.max_instruments + 1)])
    for number in range(state.transit.count):
        total += mix(mix(11, <uint64_t>state.transit.items[number].key), state.transit.items[number].number)
    total += changes_hash(&state.changes)
    total += mix(h, state.trading_status) + adjustments_hash(&state.adjustments) + contingent_hash(&state.contingent)
    for number in range(1, state.bounds.max_assets + 1):
        if state.assets[number].kind != 0:
            total += record_hash(6, &state.assets[number])
    for number in range(1, state.bounds.max_accounts + 1):
        if state.accounts[number].kind != 0:
            total += mix(record_hash(7, &state.accounts[number]), <uint64_t>state.deadman_ns[number])
    for number in range(1, state.bounds.max_instruments + 1):
        if state.instruments[number].definition.kind != 0:
            total += instrument_hash(&state.instruments[number])
    return total
