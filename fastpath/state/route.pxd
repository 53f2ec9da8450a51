# Where an order goes: decided here, by the mode of its account and by its instrument, and nowhere else.
#
# Neither ever changes (definitions.pyx), so an order keeps its route for its life.

from libc.stdint cimport uint8_t, uint32_t

from fastpath.book.book cimport book_best
from fastpath.book.mirror cimport mirror_best
from fastpath.model.enums cimport ACCOUNT_MODE_LIVE
from fastpath.model.structs cimport price_t
from fastpath.state.state cimport instrument_t, state_t

cdef enum Route:
    ROUTE_OWN_BOOK                # matched with the orders of other accounts
    ROUTE_MIRRORED                # paper: filled here, as the mirrored book of its venue would fill it
    ROUTE_VENUE                   # to the venue itself, which no order reaches yet: gate.pxd refuses it


cdef inline bint is_mirrored(const instrument_t* instrument) noexcept nogil:
    """Whether its prices are those of a venue. What an order does there is a matter of its route."""
    return instrument.mirror != NULL


cdef inline Route route_of(const state_t* state, uint32_t account, const instrument_t* instrument) noexcept nogil:
    """The account must exist, unless the instrument has its own book."""
    if not is_mirrored(instrument):
        return ROUTE_OWN_BOOK
    return ROUTE_VENUE if state.accounts[account].mode == ACCOUNT_MODE_LIVE else ROUTE_MIRRORED


cdef inline bint best_displayed(const instrument_t* instrument, uint8_t side, price_t* price) noexcept nogil:
    """Best price of a side that everybody sees; False (price untouched) when there is none."""
    if is_mirrored(instrument):
        return mirror_best(instrument.mirror, side, price)
    return book_best(instrument.book, side, price)
