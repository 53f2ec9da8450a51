"""The invariants of the trading state. Described in audit.pxd."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from fastpath.book.book cimport book_crossed, book_validate, order_price, order_side
from fastpath.state.guards cimport is_guarded
from fastpath.containers.heap cimport heap_holds
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport FEE_ACCOUNT, OUTSIDE_ACCOUNT, balance_t
from fastpath.model.structs cimport money_t
from fastpath.state.orders cimport (
    WAIT_NONE,
    WAIT_TRANSIT,
    client_order_id_hash,
    order_is_open,
    order_record_t,
    orders_find,
    orders_find_client,
    waits_for_price,
)
from fastpath.book.pool cimport NIL, order_leaves
from fastpath.state.route cimport is_mirrored
from fastpath.state.settlement cimport held_amount, reserved_row
from fastpath.state.state cimport instrument_t


cdef uint32_t count_unbalanced(const state_t* state, money_t* sums) noexcept nogil:
    """Assets whose totals do not sum to 0 over all accounts. `sums`: a 0 for each possible asset."""
    cdef uint32_t row
    cdef uint32_t unbalanced = 0
    for row in range(state.ledger.balance_count):
        sums[state.ledger.balances[row].asset] += state.ledger.balances[row].total
    for row in range(state.bounds.max_assets + 1):
        unbalanced += sums[row] != 0
    return unbalanced


cdef int64_t unbalanced_assets(const state_t* state) noexcept nogil:
    cdef money_t* sums = <money_t*>calloc(<size_t>state.bounds.max_assets + 1, sizeof(money_t))
    if sums == NULL:
        return -1
    cdef int64_t unbalanced = count_unbalanced(state, sums)
    free(sums)
    return unbalanced


cdef const char* audit_balances(const state_t* state, money_t* sums) noexcept nogil:
    """Per asset all totals sum to 0, and nobody but the world and the fee account owes anything."""
    cdef const balance_t* balance
    cdef uint32_t row
    for row in range(state.ledger.balance_count):
        balance = &state.ledger.balances[row]
        if balance.reserved < 0:
            return b"a reserved amount is negative"
        if balance.account != OUTSIDE_ACCOUNT and balance.account != FEE_ACCOUNT and balance.total < balance.reserved:
            return b"an account has less than is reserved for its orders"
        if balance.touched:
            return b"a balance is marked as touched between commands"
    if count_unbalanced(state, sums) != 0:
        return b"an asset does not sum to 0 over all accounts"
    return NULL


cdef inline uint32_t find_by_client_id(const state_t* state, const order_record_t* order) noexcept nogil:
    return orders_find_client(&state.orders, order.account, order.client_order_id,
                              client_order_id_hash(order.account, order.client_order_id))


cdef const char* audit_order(const state_t* state, uint32_t number) noexcept nogil:
    cdef const order_record_t* order = &state.orders.records[number]
    if orders_find(&state.orders, order.order_id) != number:
        return b"an order is not found by its order_id"
    if find_by_client_id(state, order) != number:
        return b"an order is not found by its client_order_id"
    if not 0 <= order.cum_qty <= order.qty and order.status != 5:
        return b"an order's cum_qty is not within its qty"
    if order_is_open(order) != (order.slot != NIL):
        return b"an order is open without a slot, or closed with one"
    if order.slot == NIL:
        return NULL
    if heap_holds(state.waiting_places, order.slot) != (waits_for_price(order) or order.waiting == WAIT_TRANSIT):
        return b"an order that waits for a price, or is on its way, is not in its heap, or another is"
    if order.waiting != WAIT_NONE:
        return NULL
    if state.pool.orders[order.slot].id != number:
        return b"an open order's slot belongs to another"
    if (order_leaves(state.pool, order.slot) != order.qty - order.cum_qty
            or order_price(state.pool, order.slot) != order.price
            or order_side(state.pool, order.slot) != order.side):
        return b"an open order rests in the book other than its record says"
    return NULL


cdef const char* audit_reservations(const state_t* state, money_t* reserved) noexcept nogil:
    """What is reserved is what the open orders need; chains and counts agree."""
    cdef const order_record_t* order
    cdef const char* broken
    cdef uint32_t number, row, account
    cdef uint32_t open_count = 0
    cdef uint32_t chained = 0
    cdef int64_t guarded = 0
    for number in range(state.orders.count):
        broken = audit_order(state, number)
        if broken != NULL:
            return broken
        order = &state.orders.records[number]
        if order.slot != NIL:
            open_count += 1
            guarded += is_guarded(order)
            reserved[reserved_row(state, order)] += held_amount(&state.instruments[order.instrument], order)
            if heap_holds(state.expiry_places, order.slot) != (order.expire_ns != 0):
                return b"an open order's expiry is not scheduled, or another's is"
    for row in range(state.ledger.balance_count):
        if reserved[row] != state.ledger.balances[row].reserved:
            return b"a reserved amount is not what the open orders need"
    for account in range(1, state.bounds.max_accounts + 1):
        number = state.orders.open_chains[account].first
        while number != NO_ROW and chained <= open_count:
            chained += 1
            number = state.orders.records[number].next_open
    if open_count != state.orders.open_count or open_count != chained or open_count != state.pool.count:
        return b"the counts of open orders differ"
    for row in range(1, state.bounds.max_instruments + 1):
        guarded -= state.instruments[row].guarded_orders
    if guarded != 0:
        return b"the counts of orders that follow others differ"
    return NULL


cdef const char* audit_books(const state_t* state) noexcept nogil:
    cdef const instrument_t* instrument
    cdef const char* broken
    cdef uint32_t number
    for number in range(1, state.bounds.max_instruments + 1):
        instrument = &state.instruments[number]
        if instrument.definition.kind == 0:
            continue
        broken = book_validate(instrument.book)
        if broken != NULL:
            return broken
        if not is_mirrored(instrument) and book_crossed(instrument.book):
            return b"a book is crossed"
    return NULL


cdef const char* audit_changes(const state_t* state) noexcept nogil:
    """Every change on its way is marked in its order, and nothing else is."""
    cdef uint32_t marked = 0
    cdef uint32_t i
    for i in range(state.changes.count):
        if not state.orders.records[state.changes.items[i].number].changes & state.changes.items[i].kind:
            return b"a change on its way to a venue is not marked in its order"
    for i in range(state.orders.count):
        marked += (state.orders.records[i].changes & 1) + (state.orders.records[i].changes >> 1)
    if marked != state.changes.count:
        return b"an order is marked with a change that is not on its way"
    return NULL


cdef const char* audit(const state_t* state) noexcept nogil:
    cdef money_t* sums = <money_t*>calloc(<size_t>state.bounds.max_assets + 1, sizeof(money_t))
    cdef money_t* reserved = <money_t*>calloc(<size_t>state.ledger.balance_count + 1, sizeof(money_t))
    cdef const char* broken = b"there is no memory to check with"
    if sums != NULL and reserved != NULL:
        broken = audit_balances(state, sums)
        if broken == NULL:
            broken = audit_reservations(state, reserved)
        if broken == NULL:
            broken = audit_books(state)
        if broken == NULL:
            broken = audit_changes(state)
    free(sums)
    free(reserved)
    return broken
