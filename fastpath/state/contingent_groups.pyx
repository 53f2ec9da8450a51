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


cdef bint contingent_init(contingent_t* contingent, uint32_t max_groups, uint32_t max_open_orders) noexcept nogil:
    memset(contingent, 0, sizeof(contingent_t))
    contingent.max_groups = max_groups
    contingent.changed_capacity = max_open_orders + 2        # all that are open, and one that arrives
    contingent.groups = <group_t*>calloc(max_groups, sizeof(group_t))
    contingent.changed = <uint32_t*>calloc(contingent.changed_capacity, sizeof(uint32_t))
    return contingent.groups != NULL and contingent.changed != NULL and index_init(&contingent.index)


cdef void contingent_close(contingent_t* contingent) noexcept nogil:
    free(contingent.groups)
    free(contingent.changed)
    index_free(&contingent.index)
    memset(contingent, 0, sizeof(contingent_t))


cdef inline uint32_t group_hash(uint32_t account, uint64_t link_id) noexcept nogil:
    return <uint32_t>mix(mix(9, account), link_id)


cdef bint contingent_reindex(contingent_t* contingent) noexcept nogil:
    cdef uint32_t row
    for row in range(contingent.count):
        if not index_reserve(&contingent.index):
            return False
        index_insert(&contingent.index, group_hash(contingent.groups[row].account, contingent.groups[row].link_id), row)
    return True


cdef uint64_t contingent_hash(const contingent_t* contingent) noexcept nogil:
    """Of the groups that were refused, and of lists that are not complete; the others follow from the orders."""
    cdef uint64_t total = 0
    cdef uint32_t row
    for row in range(contingent.count):
        if contingent.groups[row].refused:
            total += mix(mix(10, contingent.groups[row].account), contingent.groups[row].link_id)
        elif contingent.groups[row].count < contingent.groups[row].size:
            total += mix(mix(12 + contingent.groups[row].size, contingent.groups[row].account), contingent.groups[row].link_id)
    return total


cdef uint32_t find_group(const contingent_t* contingent, uint32_t account, uint64_t link_id) noexcept nogil:
    cdef uint32_t hash = group_hash(account, link_id)
    cdef uint32_t cursor = index_start(&contingent.index, hash)
    cdef uint32_t row
    while True:
        row = index_next(&contingent.index, hash, &cursor)
        if row == NO_ROW or (contingent.groups[row].link_id == link_id
                             and contingent.groups[row].account == account):
            return row


cdef bint contingent_is_child(const contingent_t* contingent, const order_record_t* order) noexcept nogil:
    return order.link_id != 0 and order.link_type != LINK_TYPE_OCO and find_group(contingent, order.account, order.link_id) != NO_ROW


cdef uint8_t contingent_check(contingent_t* contingent, const order_store_t* orders, const order_record_t* order,
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
    row = find_group(contingent, order.account, order.link_id)
    if row == NO_ROW:
        if contingent.count == contingent.max_groups or not index_reserve(&contingent.index):
            return REJECT_REASON_CAPACITY
        return REJECT_REASON_INVALID_COMMAND if at_once and order.link_type == LINK_TYPE_OCO else 0
    group = &contingent.groups[row]
    if group.refused:
        return REJECT_REASON_LINKED_ORDER
    first = &orders.records[group.members[0]]
    if (at_once or group.link_type != order.link_type or first.instrument != order.instrument
            or group.size != size or group.count == (size if size != 0 else most)):
        return REJECT_REASON_INVALID_COMMAND
    if group.link_type == LINK_TYPE_BRACKET and (first.side == order.side or not order.flags & ORDER_FLAG_REDUCE_ONLY):
        return REJECT_REASON_INVALID_COMMAND
    return 0


cdef uint32_t add_group(contingent_t* contingent, uint32_t account, uint64_t link_id) noexcept nogil:
    """The row of a new group; there must be room for it."""
    cdef uint32_t row = contingent.count
    contingent.count += 1
    contingent.groups[row].link_id = link_id
    contingent.groups[row].account = account
    index_insert(&contingent.index, group_hash(account, link_id), row)
    return row


cdef uint32_t contingent_refuse(contingent_t* contingent, uint32_t account, uint64_t link_id) noexcept nogil:
    cdef uint32_t row
    if link_id == 0:
        return NO_ROW
    row = find_group(contingent, account, link_id)
    if row == NO_ROW:
        if contingent.count == contingent.max_groups or not index_reserve(&contingent.index):
            return NO_ROW                               # then nobody else can join either
        row = add_group(contingent, account, link_id)
    if contingent.groups[row].size > 0 and contingent.groups[row].count == contingent.groups[row].size:
        return NO_ROW                                   # a list that is complete: who comes later is none of its orders
    contingent.groups[row].refused = 1
    return row


cdef void contingent_join(contingent_t* contingent, order_store_t* orders, uint32_t number, uint8_t size) noexcept nogil:
    cdef order_record_t* order = &orders.records[number]
    cdef uint32_t row
    cdef group_t* group
    if order.link_id == 0:
        return
    row = find_group(contingent, order.account, order.link_id)
    if row == NO_ROW:
        row = add_group(contingent, order.account, order.link_id)
        contingent.groups[row].link_type = order.link_type
        contingent.groups[row].size = size
    group = &contingent.groups[row]
    group.members[group.count] = number
    group.count += 1
    order.group = row
    order.linked_qty = -1                               # has not met the others yet
    contingent_changed(contingent, orders, number)
