"""Liquidity of a book with reduce-only and contingent orders. Described in guards.pxd."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.book.book cimport SIDE_INDEX_HIDDEN_BID, side_mask, order_price
from fastpath.state.contingent_groups cimport group_t
from fastpath.book.matching cimport next_level
from fastpath.model.enums cimport (
    SELF_TRADE_PREVENTION_CANCEL_OLDEST,
    SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL,
    SELF_TRADE_PREVENTION_NONE,
    SIDE_BUY,
)
from fastpath.state.orders cimport order_is_open
from fastpath.book.pool cimport LEVEL_ICEBERG, NIL, order_leaves, pool_t

cdef enum:
    MAX_GUARDS = 64               # positions and groups that one walk can tell apart, and icebergs it can refill at a price
    POSITION = 0x100000000        # keys of positions; those of groups are below

cdef struct guard_t:
    int64_t key
    qty_t   taken                 # of a position, or by all members of a group, so far
    bint    ended                 # a member was filled completely: the others are gone

cdef struct walk_t:
    const state_t* state
    const pool_t* pool
    const order_record_t* taker
    uint32_t own                  # whom the taker must not trade with; 0: nobody
    uint8_t  stp_mode
    qty_t    left                 # of the taker
    qty_t    found
    bint     is_certain           # all was told apart so far. From then on what it finds may be less, and dearer, than what there is
    qty_t    certain              # found until then
    money_t  cost
    price_t  best
    price_t  worst
    uint32_t count
    guard_t  guards[MAX_GUARDS]


cdef inline void mark_inexact(walk_t* walk) noexcept nogil:
    if walk.is_certain:
        walk.is_certain = False
        walk.certain = walk.found


cdef guard_t* guard_of(walk_t* walk, int64_t key) noexcept nogil:
    """The guard of a key, added if new. NULL: there are MAX_GUARDS already."""
    cdef uint32_t i
    for i in range(walk.count):
        if walk.guards[i].key == key:
            return &walk.guards[i]
    if walk.count == MAX_GUARDS:
        mark_inexact(walk)
        return NULL
    walk.guards[walk.count].key = key
    walk.guards[walk.count].taken = 0
    walk.guards[walk.count].ended = False
    walk.count += 1
    return &walk.guards[walk.count - 1]


cdef inline qty_t reducible_by(const state_t* state, const order_record_t* order) noexcept nogil:
    """Lots the position can be reduced by before it is flat; below zero if the order would add to it."""
    cdef qty_t position = state.ledger.positions[order.position_row].qty
    return -position if order.side == SIDE_BUY else position


cdef qty_t allowed(walk_t* walk, const order_record_t* order, qty_t leaves) noexcept nogil:
    """Lots of a resting order that can still trade when the walk reaches it."""
    cdef const guard_t* guard
    if has_siblings(walk.state, order) and not same_group(order, walk.taker):
        guard = guard_of(walk, order.group)
        if guard == NULL or guard.ended:
            return 0
        leaves -= guard.taken
    if order.flags & ORDER_FLAG_REDUCE_ONLY:
        guard = guard_of(walk, POSITION | order.position_row)
        if guard == NULL:
            return 0
        leaves = min(leaves, reducible_by(walk.state, order) - guard.taken)
    return max(leaves, 0)


cdef inline void position_changed(walk_t* walk, uint32_t position_row, qty_t by) noexcept nogil:
    cdef guard_t* guard
    if walk.state.ledger.positions[position_row].reducing_orders > 0:
        guard = guard_of(walk, POSITION | position_row)
        if guard != NULL:
            guard.taken += by


cdef void trade_order(walk_t* walk, const order_record_t* order, qty_t leaves, qty_t qty) noexcept nogil:
    """`qty` of the `leaves` lots of a resting order trade."""
    cdef guard_t* guard
    if has_siblings(walk.state, order) and not same_group(order, walk.taker):
        guard = guard_of(walk, order.group)
        if guard != NULL:
            guard.ended = guard.ended or (qty == leaves and order.awaited_qty == 0)
            guard.taken += qty
    if order.position_row != walk.taker.position_row:
        position_changed(walk, order.position_row, qty)
        position_changed(walk, walk.taker.position_row, -qty)


cdef bint visit_order(walk_t* walk, uint32_t slot, qty_t qty) noexcept nogil:
    """The incoming order reaches up to `qty` lots of a resting order. False: it trades no further."""
    cdef const order_record_t* order = &walk.state.orders.records[walk.pool.orders[slot].id]
    cdef qty_t leaves = allowed(walk, order, order_leaves(walk.pool, slot))
    cdef qty_t step = min(walk.left, min(qty, leaves))
    if step == 0:
        return True
    if walk.own != 0 and walk.pool.orders[slot].owner == walk.own:
        if walk.stp_mode == SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL:
            walk.left -= step
        return walk.left > 0 and (walk.stp_mode == SELF_TRADE_PREVENTION_CANCEL_OLDEST
                                  or walk.stp_mode == SELF_TRADE_PREVENTION_DECREMENT_AND_CANCEL)
    trade_order(walk, order, leaves, step)
    walk.worst = order_price(walk.pool, slot)
    if walk.found == 0:
        walk.best = walk.worst
    walk.left -= step
    walk.found += step
    walk.cost += <money_t>step * walk.worst
    return walk.left > 0


cdef bint visit_level(walk_t* walk, uint32_t handle) noexcept nogil:
    """Visit a level in queue order, then the refills of its icebergs in rounds. False: the incoming order trades no further."""
    cdef qty_t reserves[MAX_GUARDS]
    cdef uint32_t icebergs[MAX_GUARDS]
    cdef uint32_t count = 0
    cdef uint32_t slot = walk.pool.levels[handle].links.next
    cdef uint32_t i, left
    cdef bint is_iceberg, is_own
    cdef qty_t slice
    while slot != handle:
        is_own = walk.own != 0 and walk.pool.orders[slot].owner == walk.own
        is_iceberg = walk.pool.levels[handle].home & LEVEL_ICEBERG != 0 and walk.pool.icebergs[slot].reserve > 0
        if not visit_order(walk, slot, order_leaves(walk.pool, slot) if is_own else walk.pool.orders[slot].qty):
            return False
        if is_iceberg and not is_own and count == MAX_GUARDS:
            mark_inexact(walk)
        elif is_iceberg and not is_own:
            icebergs[count] = slot
            reserves[count] = walk.pool.icebergs[slot].reserve
            count += 1
        slot = walk.pool.orders[slot].links.next
    while count > 0:
        left = 0
        for i in range(count):
            slice = min(reserves[i], walk.pool.icebergs[icebergs[i]].display)
            if not visit_order(walk, icebergs[i], slice):
                return False
            if reserves[i] > slice:
                icebergs[left] = icebergs[i]
                reserves[left] = reserves[i] - slice
                left += 1
        count = left
    return True


cdef void walk_book(walk_t* walk, const state_t* state, const instrument_t* instrument, const order_record_t* order,
             price_t limit, qty_t qty) noexcept nogil:
    cdef uint32_t book_side = order.side & 1
    cdef uint32_t shown = instrument.book.sides[book_side].best
    cdef uint32_t hidden = instrument.book.sides[SIDE_INDEX_HIDDEN_BID + book_side].best
    cdef uint32_t handle
    walk.state, walk.pool, walk.taker, walk.count = state, instrument.book.pool, order, 0
    walk.left, walk.found, walk.is_certain = qty, 0, True
    walk.cost = 0
    while walk.left > 0:
        handle = next_level(instrument.book, book_side, &shown, &hidden)
        if (handle == NIL or walk.pool.levels[handle].key > limit ^ side_mask(book_side)
                or not visit_level(walk, handle)):
            return


cdef qty_t guarded_fillable(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                            const incoming_t* taker) noexcept nogil:
    cdef walk_t walk
    walk.own = taker.owner if taker.stp_mode > SELF_TRADE_PREVENTION_NONE else 0
    walk.stp_mode = taker.stp_mode
    walk_book(&walk, state, instrument, order, taker.price, taker.qty)
    return walk.found if walk.is_certain else walk.certain


cdef void guarded_cost(const state_t* state, const instrument_t* instrument, const order_record_t* order,
                       price_t limit, qty_t qty, qty_t* found, money_t* cost, price_t* worst) noexcept nogil:
    cdef walk_t walk
    walk.own, walk.stp_mode = 0, SELF_TRADE_PREVENTION_NONE
    walk.worst = worst[0]
    walk_book(&walk, state, instrument, order, limit, qty)
    found[0], worst[0] = walk.found, walk.worst
    cost[0] = walk.cost
    if walk.found > 0 and not walk.is_certain:      # no more than this, whatever there is: the taker goes no further than the worst
        found[0] = qty
        cost[0] = <money_t>qty * (walk.worst if order.side == SIDE_BUY else walk.best)


cdef qty_t guarded_leaves(const state_t* state, const order_record_t* order, qty_t leaves) noexcept nogil:
    cdef const group_t* group
    cdef const order_record_t* sibling
    cdef uint32_t i
    if has_siblings(state, order):
        group = &state.contingent.groups[order.group]
        for i in range(0 if order.link_type == LINK_TYPE_OCO else 1, group.count):
            sibling = &state.orders.records[group.members[i]]
            if sibling == order:
                continue
            if not order_is_open(sibling):
                return 0
            leaves -= sibling.cum_qty - max(sibling.linked_qty, 0)
    if order.flags & ORDER_FLAG_REDUCE_ONLY:
        leaves = min(leaves, reducible_by(state, order))
    return max(leaves, 0)
