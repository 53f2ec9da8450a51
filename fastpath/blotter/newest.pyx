"""Newest events of balances and positions. Described in newest.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from fastpath.containers.growing cimport grow_zeroed
from fastpath.model.structs cimport event_t
from fastpath.containers.row_map cimport NO_ROW, row_map_free, row_map_get, row_map_init, row_map_put, row_map_reserve


cdef class Newest:
    """Events by account and number."""

    def __cinit__(self):
        self.accounts = {}
        if not row_map_init(&self.rows):
            raise MemoryError

    def __dealloc__(self):
        free(self.events)
        row_map_free(&self.rows)

    cdef event_t* slot(self, uint32_t account, uint32_t number) except NULL:
        cdef uint64_t key = <uint64_t>account << 32 | number
        cdef uint32_t row = row_map_get(&self.rows, key)
        if row == NO_ROW:
            row = self.count
            if (not grow_zeroed(<void**>&self.events, &self.capacity, sizeof(event_t), <size_t>row + 1)
                    or not row_map_reserve(&self.rows)):
                raise MemoryError
            self.accounts.setdefault(account, []).append(row)
            row_map_put(&self.rows, key, row)
            self.count += 1
        return &self.events[row]

    cdef int put(self, uint32_t number, const event_t* event) except -1:
        self.slot(event.account, number)[0] = event[0]
        return 0

    cdef list of_account(self, uint32_t account):
        cdef uint32_t row
        return [(<const char*>&self.events[row])[:sizeof(event_t)] for row in self.accounts.get(account, ())]

    cdef list all(self):
        """In the order in which they came first."""
        cdef uint32_t row
        return [(<const char*>&self.events[row])[:sizeof(event_t)] for row in range(self.count)]
