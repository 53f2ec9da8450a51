# The newest event of each order that is held, and each account's orders as they came.

from libc.stdint cimport uint32_t, uint64_t

from fastpath.containers.growing cimport keys_t
from fastpath.model.structs cimport event_t
from fastpath.containers.row_map cimport NO_ROW, row_map_t

cdef struct row_links_t:          # within the open orders of an account, the closed orders, or the free rows
    uint32_t next                 # the one that came later; NO_ROW: none
    uint32_t prev
    uint32_t is_open

cdef struct row_list_t:
    uint32_t first
    uint32_t last

cdef struct account_orders_t:
    keys_t keys                   # order ids, some of them forgotten
    size_t forgotten              # how many
    row_list_t open


cdef class Orders:
    cdef readonly uint64_t forgotten_key
    cdef readonly uint64_t forgotten_seq
    cdef event_t* events
    cdef row_links_t* links
    cdef size_t capacity
    cdef size_t links_capacity
    cdef uint32_t used            # rows that were ever in use
    cdef uint32_t free_row
    cdef row_map_t rows           # order_id -> row
    cdef account_orders_t* accounts
    cdef size_t account_count
    cdef row_list_t closed        # by the time they closed
    cdef size_t closed_count

    cdef int put(self, const event_t* event) except -1
    cdef void forget_oldest(self, size_t kept) noexcept nogil
    cdef bint any_open(self, uint32_t flag) noexcept nogil
    cdef list open_ids(self, uint32_t account)
    cdef list all(self)
    cdef list closed_ids(self)
    cdef int close_again(self, uint64_t order_id) except -1
    cdef uint32_t add(self, const event_t* event) except? NO_ROW
    cdef account_orders_t* account(self, uint32_t number) except NULL
    cdef void link(self, row_list_t* rows, uint32_t row) noexcept nogil
    cdef void unlink(self, row_list_t* rows, uint32_t row) noexcept nogil
    cdef void weed_out(self, account_orders_t* account) noexcept nogil
    cdef list ids_of(self, uint32_t row)
