# Names and numbers at the edge, and what a number of ticks, lots or smallest units is as text.
#
# The registry of names stays the one place where they are kept. What belongs to a number (its name, its grids) never changes,
# so it is remembered here; what a name means can change, so it is asked for each time.

from libc.stdint cimport uint32_t

from fastpath.model.decimals cimport grid_t
from fastpath.wire.protobuf cimport span_t


cdef class Terms:                 # of one instrument
    cdef readonly uint32_t number
    cdef bytes name
    cdef grid_t tick
    cdef grid_t lot
    cdef grid_t money             # unit of its quote money


cdef class Directory:
    cdef object registry
    cdef dict terms               # instrument number -> Terms; None: its grids are beyond what is handled here
    cdef dict account_names       # number -> bytes

    # Terms, None if there is no instrument of this name, or it is not handled here; 0: no account. The bytes need not be text.
    cdef object find_instrument(self, span_t name)
    cdef uint32_t find_account(self, span_t name) except? 0

    cdef object instrument(self, uint32_t number)         # Terms or None
    cdef object terms_of(self, uint32_t number)
    cdef bytes account(self, uint32_t number)
