"""Which deposits and withdrawals were asked for already. Described in transfer_ids.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from fastpath.model.arith cimport mix, mix_money
from fastpath.containers.hash_index cimport NO_ROW, index_free, index_init, index_insert, index_next, index_reserve, index_start
from fastpath.model.structs cimport command_t, money_t
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE, client_order_id_hash


cdef bint adjustments_init(adjustments_t* adjustments, uint32_t max_count) noexcept nogil:
    memset(adjustments, 0, sizeof(adjustments_t))
    adjustments.max_count = max_count
    adjustments.items = <adjustment_t*>calloc(max_count, sizeof(adjustment_t))
    return adjustments.items != NULL and index_init(&adjustments.index)


cdef void adjustments_close(adjustments_t* adjustments) noexcept nogil:
    free(adjustments.items)
    index_free(&adjustments.index)
    adjustments.items = NULL


cdef const adjustment_t* adjustments_find(const adjustments_t* adjustments, const command_t* command) noexcept nogil:
    cdef uint32_t hash = client_order_id_hash(command.account, command.client_order_id)
    cdef uint32_t cursor = index_start(&adjustments.index, hash)
    cdef const adjustment_t* known
    cdef uint32_t number
    while True:
        number = index_next(&adjustments.index, hash, &cursor)
        if number == NO_ROW:
            return NULL
        known = &adjustments.items[number]
        if (known.account == command.account
                and memcmp(known.request_id, command.client_order_id, CLIENT_ORDER_ID_SIZE) == 0):
            return known


cdef bint adjustments_remember(adjustments_t* adjustments, const command_t* command, money_t amount) noexcept nogil:
    cdef adjustment_t* item
    if adjustments.count == adjustments.max_count or not index_reserve(&adjustments.index):
        return False
    item = &adjustments.items[adjustments.count]
    memcpy(item.request_id, command.client_order_id, CLIENT_ORDER_ID_SIZE)
    item.account = command.account
    item.asset = command.asset
    item.amount = amount
    index_insert(&adjustments.index, client_order_id_hash(item.account, item.request_id), adjustments.count)
    adjustments.count += 1
    return True


cdef bint adjustments_reindex(adjustments_t* adjustments) noexcept nogil:
    cdef const adjustment_t* item
    cdef uint32_t number
    for number in range(adjustments.count):
        item = &adjustments.items[number]
        if not index_reserve(&adjustments.index):
            return False
        index_insert(&adjustments.index, client_order_id_hash(item.account, item.request_id), number)
    return True


cdef uint64_t adjustments_hash(const adjustments_t* adjustments) noexcept nogil:
    cdef uint64_t total = 0, h
    cdef const uint64_t* words
    cdef uint32_t number
    cdef size_t word
    for number in range(adjustments.count):
        words = <const uint64_t*>&adjustments.items[number]
        h = 8
        for word in range((<size_t>&adjustments.items[number].amount - <size_t>words) // sizeof(uint64_t)):
            h = mix(h, words[word])
        total += mix_money(h, adjustments.items[number].amount)
    return total
