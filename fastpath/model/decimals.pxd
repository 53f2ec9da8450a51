# Decimal text and whole units of a grid (tick, lot, smallest unit of money), exactly: nothing is ever rounded but an average.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastpath.model.structs cimport money_t

cdef extern from *:
    """
    typedef unsigned __int128 tw_uint128;
    #define tw_mul_overflow(a, b, out) __builtin_mul_overflow((tw_uint128)(a), (tw_uint128)(b), (out))
    """
    ctypedef unsigned long long uint128_t "tw_uint128"
    bint mul_overflow "tw_mul_overflow"(uint128_t a, uint128_t b, uint128_t* out) noexcept nogil

cdef enum:
    MAX_SCALE = 18                # decimals of a grid, and of text that is read here
    MAX_DECIMAL = 64              # characters that `write_*` may write

cdef struct grid_t:               # one unit is worth mantissa * 10**-scale
    uint64_t mantissa             # 1 to 10**18; no multiple of 10 unless scale is 0
    uint32_t scale                # 0 to MAX_SCALE

# How many units the text is worth: positive, at most INT64_MAX. False for anything else: for text that is no plain decimal
# (digits, at most one point, at most 18 digits in all), a value off the grid, zero, or one too large.
cdef bint read_units(const char* text, size_t size, const grid_t* grid, int64_t* units) noexcept nogil

# Canonical text of `units` units: no exponent, no trailing zeros. The number of characters.
cdef size_t write_units(char* out, int64_t units, const grid_t* grid) noexcept nogil
# The same of an amount of money; 0: beyond 128 bits.
cdef size_t write_money(char* out, money_t amount, const grid_t* money) noexcept nogil
cdef size_t write_integer(char* out, uint64_t value) noexcept nogil

# `cost` units of `money` for each of `qty` (> 0) units of `lot`, rounded half even to 18 decimals. 0: beyond 128 bits.
cdef size_t write_average(char* out, money_t cost, const grid_t* money, int64_t qty, const grid_t* lot) noexcept nogil
