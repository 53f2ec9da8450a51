"""Decimal text and whole units. Described in decimals.pxd."""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

cdef uint64_t POWERS[MAX_SCALE + 1]
cdef uint32_t power
POWERS[0] = 1
for power in range(1, MAX_SCALE + 1):
    POWERS[power] = POWERS[power - 1] * 10


cdef bint read_units(const char* text, size_t size, const grid_t* grid, int64_t* units) noexcept nogil:
    cdef uint64_t mantissa = 0
    cdef uint32_t scale = 0
    cdef bint fraction = False
    cdef size_t i
    if size == 0 or size > MAX_SCALE + 1 or text[0] == c"." or text[size - 1] == c".":
        return False
    for i in range(size):
        if text[i] == c"." and not fraction:
            fraction = True
        elif c"0" <= text[i] <= c"9":
            mantissa = mantissa * 10 + <uint64_t>(text[i] - c"0")
            scale += fraction
        else:
            return False
    if size == MAX_SCALE + 1 and not fraction:
        return False
    while scale > grid.scale and mantissa % 10 == 0 and mantissa != 0:
        mantissa //= 10
        scale -= 1
    if scale > grid.scale or mantissa == 0 or mantissa > <uint64_t>INT64_MAX // POWERS[grid.scale - scale]:
        return False
    mantissa *= POWERS[grid.scale - scale]
    if mantissa % grid.mantissa != 0:
        return False
    units[0] = <int64_t>(mantissa // grid.mantissa)
    return True


cdef size_t write_scaled(char* out, bint negative, uint128_t value, uint32_t scale) noexcept nogil:
    """`value` * 10**-scale."""
    cdef char digits[MAX_DECIMAL]         # last one first
    cdef uint32_t count = 0, first = 0
    cdef uint64_t low
    cdef char* end = out
    while value >> 64 != 0:
        digits[count] = <char>(c"0" + <int>(value % 10))
        value //= 10
        count += 1
    low = <uint64_t>value
    while low != 0:
        digits[count] = <char>(c"0" + <int>(low % 10))
        low //= 10
        count += 1
    while count <= scale:
        digits[count] = c"0"
        count += 1
    while first < scale and digits[first] == c"0":
        first += 1
    if negative:
        end[0] = c"-"
        end += 1
    while count > scale:
        count -= 1
        end[0] = digits[count]
        end += 1
    if first < scale:
        end[0] = c"."
        end += 1
        while count > first:
            count -= 1
            end[0] = digits[count]
            end += 1
    return end - out


cdef size_t write_units(char* out, int64_t units, const grid_t* grid) noexcept nogil:
    cdef uint64_t magnitude = <uint64_t>units if units >= 0 else 0 - <uint64_t>units
    if units == 0:
        out[0] = c"0"
        return 1
    return write_scaled(out, units < 0, <uint128_t>magnitude * grid.mantissa, grid.scale)


cdef size_t write_money(char* out, money_t amount, const grid_t* money) noexcept nogil:
    cdef uint128_t magnitude = <uint128_t>amount if amount >= 0 else <uint128_t>-amount
    if amount == 0:
        out[0] = c"0"
        return 1
    if mul_overflow(magnitude, money.mantissa, &magnitude):
        return 0
    return write_scaled(out, amount < 0, magnitude, money.scale)


cdef size_t write_integer(char* out, uint64_t value) noexcept nogil:
    return write_scaled(out, False, value, 0)


cdef size_t write_average(char* out, money_t cost, const grid_t* money, int64_t qty, const grid_t* lot) noexcept nogil:
    cdef uint32_t common = min(money.scale, lot.scale)
    cdef uint128_t numerator, divisor, quotient, rest, average
    if cost < 0 or qty <= 0:
        return 0
    if (mul_overflow(<uint128_t>cost, money.mantissa, &numerator)
            or mul_overflow(numerator, POWERS[lot.scale - common], &numerator)
            or mul_overflow(<uint128_t><uint64_t>qty * lot.mantissa, POWERS[money.scale - common], &divisor)
            or divisor >> 124 != 0):
        return 0
    quotient = numerator // divisor
    rest = numerator % divisor
    if divisor >> 64 == 0:                              # the 18 decimals in one step
        if mul_overflow(quotient, POWERS[MAX_SCALE], &average):
            return 0
        rest *= POWERS[MAX_SCALE]
        quotient = average + rest // divisor
        rest %= divisor
    else:
        for _ in range(MAX_SCALE):
            if mul_overflow(quotient, 10, &average):
                return 0
            rest *= 10
            quotient = average + rest // divisor
            rest %= divisor
    if rest * 2 > divisor or (rest * 2 == divisor and quotient % 2 == 1):
        quotient += 1
    return write_scaled(out, False, quotient, MAX_SCALE)
