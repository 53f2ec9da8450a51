"""Groups of linked orders. Described in contingent_groups.pxd."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.model.arith cimport mix
from fastpath.containers.hash_index cimport index_free, index_init, index_insert, index_next, index_reserve, index_start
from fastpath.model.enums cimport (
    LINK_TYPE_BRACKET,
    LINK_TYPE_OCO,
    ORDER_FLAG_CLOSE_POSITION,
    ORDER_FLAG_QUOTE_QTY,
    ORDER_FLAG_REDUCE_ONLY,
    REJECT_REASON_CAPACITY,
    REJECT_REASON_INVALID_COMMAND,
    REJECT_REASON_LINKED_ORDER,
    TIME_IN_FORCE_FOK,
    TIME_IN_FORCE_IOC,
)


cdef bint links_init(links_t* links, uint32_t max_groups, uint32_t max_open_orders) noexcept nogil:
    memset(links, 0, sizeof(links_t))
    links.max_groups = max_groups
    links.changed_capacity = max_open_orders + 2        # all that are open, and one that arrives
    links.groups = <group_t*>calloc(max_groups, sizeof(group_t))
    links.changed = <uint32_t*>calloc(links.changed_capacity, sizeof(uint32_t))
    return links.groups != NULL and links.changed != NULL and index_init(&links.index)


cdef void links_close(links_t* links) noexcept nogil:
    free(links.groups)
    free(links.changed)
    index_free(&links.index)
    memset(links, 0, sizeof(links_t))


cdef inline uint32_t group_hash(uint32_t account, uint64_t link_id) noexcept nogil:
    return <uint32_t>mix(mix(9, account), link_id)


cdef bint links_reindex(links_t* links) noexcept nogil:
    cdef uint32_t row
    for row in range(links.count):
        if not index_reserve(&links.index):
            return False
        index_insert(&links.index, group_hash(links.groups[row].account, links.groups[row].link_id), row)
    return True


cdef uint64_t links_hash(const links_t* links) noexcept nogil:
    """Of the groups that were refused, and of lists that are not complete; the others follow from the orders."""
    cdef uint64_t total = 0
    cdef uint32_t row
    for row in range(links.count):
        if links.groups[row].refused:
            total += mix(mix(10, links.groups[row].account), links.groups[row].link_id)
        elif links.groups[row].count < links.groups[row].size:
            total += mix(mix(12 + links.groups[row].size, links.groups[row].account), links.groups[row].link_id)
    return total


cdef uint32_t find_group(const links_t* links, uint32_t account, uint64_t link_id) noexcept nogil:
    cdef uint32_t hash = group_hash(account, link_id)
    cdef uint32_t cursor = index_start(&links.index, hash)
    cdef uint32_t row
    while True:
        row = index_next(&links.index, hash, &cursor)
        if row == NO_ROW or (links.groups[row].link_id == link_id
                             and links.groups[row].account == account):
            return row


cdef bint links_is_child(const links_t* links, const order_record_t* order) noexcept nogil:
    return order.link_id != 0 and order.link_type != LINK_TYPE_OCO and find_group(links, order.account, order.link_id) != NO_ROW


cdef uint8_t links_check(links_t* links, const order_store_t* orders, const order_record_t* order,
                         uint8_t size) noexcept nogil:
    cdef uint8_t most = MAX_BRACKET if order.link_type == LINK_TYPE_BRACKET else MAX_LINKED
    cdef bint at_once = order.time_in_force == TIME_IN_FORCE_IOC or order.time_in_force == TIME_IN_FORCE_FOK
    cdef const order_record_t* first
    cdef const group_t* group
    cdef uint32_t row
    if order.link_id == 0:
        return 0 if order.link_type == 0 and size == 0 else REJECT_REASON_INVALID_COMMAND
    if (not LINK_TYPE_OCO <= order.link_type <= LINK_TYPE_BRACKET or order.min_qty != 0
            or order.flags & (ORDER_FLAG_QUOTE_QTY | ORDER_FLAG_CLOSE_POSITION) or size == 1 or size > most):
        return REJECT_REASON_INVALID_COMMAND
    row = find_group(links, order.account, order.link_id)
    if row == NO_ROW:
        if links.count == links.max_groups or not index_reserve(&links.index):
            return REJECT_REASON_CAPACITY
        return REJECT_REASON_INVALID_COMMAND if at_once and order.link_type == LINK_TYPE_OCO else 0
    group = &links.groups[row]
    if group.refused:
        return REJECT_REASON_LINKED_ORDER
    first = &orders.records[group.members[0]]
    if (at_once or group.link_type != order.link_type or first.instrument != order.instrument
            or group.size != size or group.count == (size if size != 0 else most)):
        return REJECT_REASON_INVALID_COMMAND
    if group.link_type == LINK_TYPE_BRACKET and (first.side == order.side or not order.flags & ORDER_FLAG_REDUCE_ONLY):
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef uint32_t add_group(links_t* links, uint32_t account, uint64_t link_id) noexcept nogil:
    """The row of a new group; there must be room for it."""
    cdef uint32_t row = links.count
    links.count += 1
    links.groups[row].link_id = link_id
    links.groups[row].account = account
    index_insert(&links.index, group_hash(account, link_id), row)
    return row


cdef uint32_t links_refuse(links_t* links, uint32_t account, uint64_t link_id) noexcept nogil:
    cdef uint32_t row
    if link_id == 0:
        return NO_ROW
    row = find_group(links, account, link_id)
    if row == NO_ROW:
        if links.count == links.max_groups or not index_reserve(&links.index):
            return NO_ROW                               # then nobody else can join either
        row = add_group(links, account, link_id)
    if links.groups[row].size > 0 and links.groups[row].count == links.groups[row].size:
        return NO_ROW                                   # a list that is complete: who comes later is none of its orders
    links.groups[row].refused = 1
    return row


cdef void links_join(links_t* links, order_store_t* orders, uint32_t number, uint8_t size) noexcept nogil:
    cdef order_record_t* order = &orders.records[number]
    cdef uint32_t row
    cdef group_t* group
    if order.link_id == 0:
        return
    row = find_group(links, order.account, order.link_id)
    if row == NO_ROW:
        row = add_group(links, order.account, order.link_id)
        links.groups[row].link_type = order.link_type
        links.groups[row].size = size
    group = &links.groups[row]
    group.members[group.count] = number
    group.count += 1
    order.group = row
    order.linked_qty = -1                               # has not met the others yet
    links_changed(links, orders, number)
