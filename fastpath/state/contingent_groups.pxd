# Orders that depend on one another: groups of an account's orders that carry the same link_id.
#
# OCO: equals; what one fills is taken off the others, and when one ends the others are canceled.
# OTO: the first is the parent; the others wait for its fills, each of which releases as much of them.
# BRACKET: as OTO, with two exits on the other side, reduce-only, that are OCO to each other.
# All are accepted or none is: when one is refused, those before it are canceled and those after it refused. In a group of a given
# size nobody enters before all have been accepted; then they do one by one, each after what the one before has caused.
#
# Here: who belongs together. What follows from it is done at the end of each command (contingent.pyx).

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.containers.hash_index cimport NO_ROW, index_t
from fastpath.state.orders cimport order_record_t, order_store_t

cdef enum:
    MAX_LINKED = 8                # orders of one group, ever
    MAX_BRACKET = 3

cdef struct group_t:
    uint64_t link_id
    uint32_t account
    uint8_t  link_type
    uint8_t  count
    uint8_t  refused              # a member was refused: the others are canceled, and nobody joins any more
    uint8_t  size                 # of a list: members to come in all; 0: whoever comes
    uint32_t members[MAX_LINKED]  # record numbers, the parent (if there is one) first

cdef struct contingent_t:
    group_t*  groups
    index_t   index               # by (account, link_id)
    uint32_t  count
    uint32_t  max_groups
    uint32_t* changed             # ring of members to look at when the command ends
    uint32_t  changed_first
    uint32_t  changed_count
    uint32_t  changed_capacity

cdef uint64_t contingent_hash(const contingent_t* contingent) noexcept nogil
cdef bint contingent_init(contingent_t* contingent, uint32_t max_groups, uint32_t max_open_orders) noexcept nogil
cdef void contingent_close(contingent_t* contingent) noexcept nogil
# Build the index anew from the groups. False: out of memory.
cdef bint contingent_reindex(contingent_t* contingent) noexcept nogil

# The row of a group, or NO_ROW.
cdef uint32_t find_group(const contingent_t* contingent, uint32_t account, uint64_t link_id) noexcept nogil

# The reason this order may not belong to its group, 0 if it may, or has none. Makes sure there is room for it.
cdef uint8_t contingent_check(contingent_t* contingent, const order_store_t* orders, const order_record_t* order,
                         uint8_t size) noexcept nogil
# The order is accepted: it belongs to its group from now on.
cdef void contingent_join(contingent_t* contingent, order_store_t* orders, uint32_t number, uint8_t size) noexcept nogil
# A member is refused: the row of its group, made if there was none, that nobody joins any more. NO_ROW: no such group, or a list
# that is complete: a repetition with another body changes nothing.
cdef uint32_t contingent_refuse(contingent_t* contingent, uint32_t account, uint64_t link_id) noexcept nogil
# Whether the order would be a child, which waits for its parent.
cdef bint contingent_is_child(const contingent_t* contingent, const order_record_t* order) noexcept nogil


cdef inline void contingent_changed(contingent_t* contingent, order_store_t* orders, uint32_t number) noexcept nogil:
    """A member was filled or has ended: others may have to follow."""
    cdef order_record_t* order = &orders.records[number]
    if order.group == NO_ROW or order.link_queued:
        return
    order.link_queued = 1
    contingent.changed[(contingent.changed_first + contingent.changed_count) % contingent.changed_capacity] = number
    contingent.changed_count += 1


cdef inline uint32_t contingent_next_changed(contingent_t* contingent, order_store_t* orders) noexcept nogil:
    """NO_ROW: all have been looked at."""
    cdef uint32_t number
    if contingent.changed_count == 0:
        return NO_ROW
    number = contingent.changed[contingent.changed_first]
    contingent.changed_first = (contingent.changed_first + 1) % contingent.changed_capacity
    contingent.changed_count -= 1
    orders.records[number].link_queued = 0
    return number
