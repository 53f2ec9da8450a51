# Deposits and withdrawals: money between an account and the outside world, once per request.
#
# A command that carries a request id (in client_order_id) is remembered for ever. Sent again it changes nothing: the same body
# is answered with the balance as it stands (BALANCE_CHANGED, delta 0), another body is refused as a conflict.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.containers.hash_index cimport index_t
from fastpath.model.structs cimport command_t, money_t

cdef struct adjustment_t:
    char     request_id[36]
    uint32_t account
    uint32_t asset
    uint32_t unused
    money_t  amount

cdef struct adjustments_t:
    adjustment_t* items
    index_t index                # by (account, request_id)
    uint32_t count
    uint32_t max_count

cdef bint adjustments_init(adjustments_t* adjustments, uint32_t max_count) noexcept nogil    # False: out of memory
cdef void adjustments_close(adjustments_t* adjustments) noexcept nogil

# The earlier adjustment with the command's request id, or NULL.
cdef const adjustment_t* adjustments_find(const adjustments_t* adjustments, const command_t* command) noexcept nogil
# Remember the command's request id and its amount, in units of the asset. False: a bound or the memory is reached.
cdef bint adjustments_remember(adjustments_t* adjustments, const command_t* command, money_t amount) noexcept nogil
# Build the index anew from the items. False: out of memory.
cdef bint adjustments_reindex(adjustments_t* adjustments) noexcept nogil
cdef uint64_t adjustments_hash(const adjustments_t* adjustments) noexcept nogil
