# The newest event of each (account, number of something): balances by asset, positions by instrument. None is ever forgotten.

from libc.stdint cimport uint32_t

from fastpath.model.structs cimport event_t
from fastpath.containers.row_map cimport row_map_t

cdef class Newest:
    cdef event_t* events
    cdef size_t capacity
    cdef uint32_t count
    cdef row_map_t rows           # account and number -> row
    cdef dict accounts            # account -> its rows; a new one is rare

    cdef event_t* slot(self, uint32_t account, uint32_t number) except NULL    # of the newest event; zeros if there was none
    cdef int put(self, uint32_t number, const event_t* event) except -1
    cdef list of_account(self, uint32_t account)
    cdef list all(self)
