# What an instrument is worth for positions in it: limits on exposure and unrealized profit ask here.
#
# The mark price that was told counts first, while it holds: it is what its venue settles by. Else the middle of the venue's quote as
# it was last told. Else the last trade. A price whose time is over, or that a book without a live feed gave, is given as stale: it
# tells what a position was worth, and is nothing to decide by.

from fastpath.model.enums cimport MIRROR_LIVE
from fastpath.model.structs cimport price_t, ts_t
from fastpath.state.route cimport is_mirrored
from fastpath.state.state cimport instrument_t

cdef struct valuation_t:
    price_t price                 # 0: none is known
    bint    stale


cdef inline valuation_t valuation_of(const instrument_t* instrument, ts_t now_ns) noexcept nogil:
    cdef valuation_t valuation
    valuation.stale = False
    if instrument.reference.mark_price != 0 and instrument.reference.until_ns > now_ns:
        valuation.price = instrument.reference.mark_price
    elif instrument.reference.valuation_price != 0:
        valuation.price = instrument.reference.valuation_price
        valuation.stale = instrument.reference.valuation_until_ns <= now_ns
    else:
        valuation.price = instrument.last_price
        valuation.stale = is_mirrored(instrument) and instrument.mirror.state != MIRROR_LIVE
    return valuation
