"""The store of all orders. Described in orders.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastpath.model.arith cimport mix, money_of
from fastpath.containers.hash_index cimport index_free, index_init, index_insert, index_next, index_reserve, index_start
from fastpath.containers.memory cimport memory_release, memory_reserve
from fastpath.model.enums cimport ORDER_STATUS_NEW
from fastpath.model.structs cimport command_t
from fastpath.containers.order_ids cimport order_ids_append, order_ids_free, order_ids_init, order_ids_reserve


cdef bint orders_init(order_store_t* orders, uint32_t max_orders, uint32_t max_accounts) noexcept nogil:
    cdef size_t chains_size = (<size_t>max_accounts + 1) * sizeof(open_chain_t)
    cdef uint32_t account
    memset(orders, 0, sizeof(order_store_t))
    orders.max_orders = max_orders
    orders.records = <order_record_t*>memory_reserve(max_orders * sizeof(order_record_t))
    orders.open_chains = <open_chain_t*>malloc(chains_size)
    if (orders.records == NULL or orders.open_chains == NULL
            or not order_ids_init(&orders.ids) or not index_init(&orders.by_client_order_id)
            or not index_init(&orders.stp_groups)):
        return False
    for account in range(max_accounts + 1):
        orders.open_chains[account].first = orders.open_chains[account].last = NO_ROW
        orders.open_chains[account].placed = orders.open_chains[account].open_count = 0
    return True


cdef void orders_close(order_store_t* orders) noexcept nogil:
    memory_release(orders.records, orders.max_orders * sizeof(order_record_t))
    free(orders.open_chains)
    order_ids_free(&orders.ids)
    index_free(&orders.by_client_order_id)
    index_free(&orders.stp_groups)
    memset(orders, 0, sizeof(order_store_t))


cdef uint32_t orders_find_client(const order_store_t* orders, uint32_t account, const char* client_order_id,
                                 uint32_t client_hash) noexcept nogil:
    cdef uint32_t cursor = index_start(&orders.by_client_order_id, client_hash)
    cdef const order_record_t* order
    cdef uint32_t number
    while True:
        number = index_next(&orders.by_client_order_id, client_hash, &cursor)
        if number == NO_ROW:
            return NO_ROW
        order = &orders.records[number]
        if (order.account == account
                and memcmp(order.client_order_id, client_order_id, CLIENT_ORDER_ID_SIZE) == 0):
            return number


cdef uint32_t find_group(const order_store_t* orders, uint64_t stp_owner, uint32_t stp_group) noexcept nogil:
    """The first order of a self-trade group, or NO_ROW."""
    cdef uint32_t hash = <uint32_t>mix(mix(13, stp_owner), stp_group)
    cdef uint32_t cursor = index_start(&orders.stp_groups, hash)
    cdef uint32_t number
    while True:
        number = index_next(&orders.stp_groups, hash, &cursor)
        if number == NO_ROW or (orders.records[number].stp_group == stp_group
                                and orders.records[number].stp_owner == stp_owner):
            return number


cdef void name_group(order_store_t* orders, uint32_t number) noexcept nogil:
    """An order that may be the first of its self-trade group; there must be room for it."""
    cdef const order_record_t* order = &orders.records[number]
    if find_group(orders, order.stp_owner, order.stp_group) == NO_ROW:
        index_insert(&orders.stp_groups, <uint32_t>mix(mix(13, order.stp_owner), order.stp_group), number)


cdef uint32_t group_owner(const order_store_t* orders, const order_record_t* order) noexcept nogil:
    return <uint32_t>GROUP_OWNER | find_group(orders, order.stp_owner, order.stp_group)


cdef uint32_t orders_append(order_store_t* orders, const command_t* command, uint64_t body_digest,
                            uint32_t client_hash) noexcept nogil:
    cdef uint32_t number = orders.count
    cdef order_record_t* order
    if (number == orders.max_orders or orders.open_chains[command.account].placed >= share_of(orders.max_orders)
            or not order_ids_reserve(&orders.ids) or not index_reserve(&orders.by_client_order_id)
            or (command.stp_group != 0 and not index_reserve(&orders.stp_groups))):
        return NO_ROW
    orders.count += 1
    orders.open_chains[command.account].placed += 1
    order = &orders.records[number]
    order.order_id = command.seq
    order.placed_ns = order.changed_ns = command.ts_ns
    memcpy(order.client_order_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
    order.account = command.account
    order.instrument = command.instrument
    order.flags = command.flags
    order.side = command.side
    order.order_type = command.order_type
    order.time_in_force = command.time_in_force
    order.status = ORDER_STATUS_NEW
    order.stp_mode = command.stp_mode
    order.stp_group = command.stp_group
    order.stp_owner = command.stp_owner if command.stp_group != 0 else 0
    order.trigger_source = command.trigger_source
    order.price = command.price
    order.qty = command.qty
    order.trigger_price = command.trigger_price
    order.display_qty = command.display_qty
    order.min_qty = command.min_qty
    order.amount = money_of(command.amount, command.amount_high)
    order.expire_ns = command.expire_ns
    order.trailing_offset = command.trailing_offset
    order.trailing_unit = command.trailing_unit
    order.link_id = command.link_id
    order.link_type = command.link_type
    order.session = command.session
    order.body_digest = body_digest
    order.group = NO_ROW
    order_ids_append(&orders.ids, order.order_id)
    index_insert(&orders.by_client_order_id, client_hash, number)
    if order.stp_group != 0:
        name_group(orders, number)
    return number


cdef void orders_open(order_store_t* orders, uint32_t number) noexcept nogil:
    cdef order_record_t* order = &orders.records[number]
    cdef open_chain_t* chain = &orders.open_chains[order.account]
    order.previous_open = chain.last
    order.next_open = NO_ROW
    if chain.last == NO_ROW:
        chain.first = number
    else:
        orders.records[chain.last].next_open = number
    chain.last = number
    chain.open_count += 1
    orders.open_count += 1


cdef void orders_leave(order_store_t* orders, uint32_t number) noexcept nogil:
    cdef order_record_t* order = &orders.records[number]
    cdef open_chain_t* chain = &orders.open_chains[order.account]
    if order.previous_open == NO_ROW:
        chain.first = order.next_open
    else:
        orders.records[order.previous_open].next_open = order.next_open
    if order.next_open == NO_ROW:
        chain.last = order.previous_open
    else:
        orders.records[order.next_open].previous_open = order.previous_open
    chain.open_count -= 1
    orders.open_count -= 1


cdef bint orders_reindex(order_store_t* orders) noexcept nogil:
    cdef const order_record_t* order
    cdef uint32_t number
    orders.open_count = 0
    for number in range(orders.count):
        order = &orders.records[number]
        if (not order_ids_reserve(&orders.ids) or not index_reserve(&orders.by_client_order_id)
                or not index_reserve(&orders.stp_groups)):
            return False
        orders.open_chains[order.account].placed += 1
        if order.stp_group != 0:
            name_group(orders, number)
        order_ids_append(&orders.ids, order.order_id)
        index_insert(&orders.by_client_order_id, client_order_id_hash(order.account, order.client_order_id), number)
        if not order_is_open(order):
            continue
        orders.open_chains[order.account].open_count += 1
        orders.open_count += 1
        if order.previous_open == NO_ROW:
            orders.open_chains[order.account].first = number
        if order.next_open == NO_ROW:
            orders.open_chains[order.account].last = number
    return True


cdef uint64_t body_digest(const command_t* command) noexcept nogil:
    cdef uint64_t kinds = (command.side | <uint64_t>command.order_type << 8 | <uint64_t>command.time_in_force << 16
                           | <uint64_t>command.stp_mode << 24 | <uint64_t>command.trigger_source << 32
                           | <uint64_t>command.trailing_unit << 40 | <uint64_t>command.link_type << 48)
    cdef uint64_t h = mix(kinds, <uint64_t>command.instrument << 32 | command.flags)
    h = mix(h, <uint64_t>command.price)
    h = mix(h, <uint64_t>command.qty)
    h = mix(h, <uint64_t>command.trigger_price)
    h = mix(h, <uint64_t>command.display_qty)
    h = mix(h, <uint64_t>command.min_qty)
    h = mix(h, <uint64_t>command.amount)
    h = mix(h, <uint64_t>command.expire_ns)
    h = mix(h, <uint64_t>command.trailing_offset)
    h = mix(h, command.link_id)
    if command.amount_high != 0:
        h = mix(h, <uint64_t>command.amount_high)
    return mix(h, command.stp_group | <uint64_t>command.link_size << 32)


cdef uint64_t orders_hash(const order_store_t* orders) noexcept nogil:
    cdef uint64_t total = 0, h
    cdef const order_record_t* order
    cdef const uint64_t* words
    cdef uint32_t number
    cdef size_t word
    for number in range(orders.count):
        order = &orders.records[number]
        words = <const uint64_t*>order
        h = 3
        for word in range((<size_t>&order.slot - <size_t>order) // sizeof(uint64_t)):
            h = mix(h, words[word])
        total += h if order.stp_owner == 0 else mix(h, order.stp_owner)
    return total
