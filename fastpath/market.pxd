# What an instrument trades against, seen as one thing: its own book or the mirrored venue.

from libc.stdint cimport int64_t, uint8_t

from fastpath.matching cimport match_cost
from fastpath.mirror cimport mirror_cost
from fastpath.model cimport price_t, qty_t
from fastpath.state cimport instrument_t


cdef inline bint walk(const instrument_t* instrument, uint8_t side, price_t limit, qty_t qty,
                      qty_t* found, int64_t* cost, price_t* worst) noexcept nogil:
    """matching.match_cost on whatever the instrument trades against."""
    if instrument.mirror != NULL:
        return mirror_cost(instrument.mirror, side, limit, qty, found, cost, worst)
    return match_cost(instrument.book, side, limit, qty, found, cost, worst)
