# Checked integer arithmetic for money, and the mixing step of every state hash. Inline leaves: no .pyx of their own.
#
# Money has 128 bits. Every amount of an order and every balance of an account is within MAX_MONEY, so that sums over all
# accounts, which are within MAX_SUPPLY, fit as well. Assets that older builds defined have one bound, MAX_NARROW, until they
# are defined again: so a journal means what it meant. Most amounts fit 64 bits: for those the straight way is kept fast.
#
# In records of 64-bit fields an amount is `high * 2**64 + low`, low being signed: what fits int64 has the high word 0.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from fastpath.model.structs cimport money_t

cdef extern from *:
    """
    #include <stdint.h>
    #define TW_MAX_MONEY ((__int128)1 << 110)
    #define TW_MAX_SUPPLY ((__int128)1 << 126)
    #define TW_MAX_NARROW ((__int128)1 << 61)
    #define TW_PPM 1000000

    static inline int tw_fits(__int128 amount) {
        return amount == (int64_t)amount;
    }

    /* *out = cost * unit, if that times `factor` is at most `most`; all >= 0. Returns 0 and leaves *out alone otherwise. */
    static inline int tw_worth(__int128 cost, int64_t unit, int64_t factor, __int128 most, __int128 *out) {
        int64_t worth;
        if (tw_fits(cost) && !__builtin_mul_overflow((int64_t)cost, unit, &worth)) {
            if ((__int128)worth * factor > most)
                return 0;
            *out = worth;
            return 1;
        }
        if (cost > most / unit || cost * unit > most / factor)
            return 0;
        *out = cost * unit;
        return 1;
    }

    /* trunc(a * b / divisor) of any size, bit by bit; 0 <= a, b < divisor, which is below 2^126. */
    static inline __int128 tw_long_share(__int128 a, __int128 b, __int128 divisor) {
        __int128 quotient = 0, rest = 0;
        for (int bit = 126; bit >= 0; bit--) {
            rest = 2 * rest;
            quotient = 2 * quotient + (rest >= divisor);
            rest -= rest >= divisor ? divisor : 0;
            if (b >> bit & 1) {
                rest += a;
                quotient += rest >= divisor;
                rest -= rest >= divisor ? divisor : 0;
            }
        }
        return quotient;
    }

    /* trunc(a * b / divisor), exact in between; 0 <= b <= divisor. */
    static inline __int128 tw_share(__int128 a, __int128 b, __int128 divisor) {
        int64_t product;
        if (tw_fits(a) && tw_fits(divisor)) {
            if (!__builtin_mul_overflow((int64_t)a, (int64_t)b, &product))
                return product / (int64_t)divisor;
            return (int64_t)(a * b / divisor);
        }
        if (b == divisor)
            return a;
        if (a < 0)
            return -(-a / divisor * b + tw_long_share(-a % divisor, b, divisor));
        return a / divisor * b + tw_long_share(a % divisor, b, divisor);
    }

    /* The fee of a further notional, so that all fees of an order sum to ceil(sum(rate * notional) / 1e6), however
       many fills it takes. *carry in (-1e6, 0] is what earlier fills overpaid, in millionths of a unit. |rate| <= 1e6. */
    static inline __int128 tw_fee(__int128 notional, int64_t rate_ppm, int32_t *carry) {
        __int128 fee = 0;
        int64_t exact, rounded;
        if (notional >= (int64_t)1 << 42) {                     /* below, the product fits 63 bits */
            fee = notional / TW_PPM * rate_ppm;
            notional %= TW_PPM;
        }
        exact = (int64_t)notional * rate_ppm + *carry;
        rounded = exact / TW_PPM + (exact % TW_PPM > 0);
        *carry = (int32_t)(exact - rounded * TW_PPM);
        return fee + rounded;
    }

    static inline int64_t tw_saturating_add(int64_t a, int64_t b) {
        int64_t sum;
        if (__builtin_add_overflow(a, b, &sum))
            return a < 0 ? INT64_MIN : INT64_MAX;
        return sum;
    }

    static inline int64_t tw_clamped(__int128 a) {
        return a > INT64_MAX ? INT64_MAX : a < INT64_MIN ? INT64_MIN : (int64_t)a;
    }

    /* How often `divisor` fits into `a`, rounded toward zero whatever the build's rules of division. */
    static inline __int128 tw_whole(__int128 a, __int128 divisor) {
        return a / divisor;
    }

    /* One step of a multiply-fold hash: hash the words of a record one after another, starting from any seed. */
    static inline uint64_t tw_mix(uint64_t hash, uint64_t word) {
        unsigned __int128 folded = (unsigned __int128)(hash ^ word ^ 0xE7037ED1A0B428DBull) * 0x9E3779B97F4A7C15ull;
        return (uint64_t)folded ^ (uint64_t)(folded >> 64);
    }

    /* Two words at once: the steps of two pairs do not wait for one another. For tables in memory, not for what is kept. */
    static inline uint64_t tw_mix_pair(uint64_t a, uint64_t b) {
        unsigned __int128 folded =
            (unsigned __int128)(a ^ 0xE7037ED1A0B428DBull) * (b ^ 0x8EBC6AF09C88C6E3ull);
        return (uint64_t)folded ^ (uint64_t)(folded >> 64);
    }
    """
    const money_t MAX_MONEY "TW_MAX_MONEY"
    const money_t MAX_SUPPLY "TW_MAX_SUPPLY"
    const money_t MAX_NARROW "TW_MAX_NARROW"
    bint worth "tw_worth"(money_t cost, int64_t unit, int64_t factor, money_t most, money_t* out) noexcept nogil
    bint fits_int64 "tw_fits"(money_t amount) noexcept nogil
    money_t share "tw_share"(money_t a, money_t b, money_t divisor) noexcept nogil
    money_t fee_of "tw_fee"(money_t notional, int64_t rate_ppm, int32_t* carry) noexcept nogil
    int64_t saturating_add "tw_saturating_add"(int64_t a, int64_t b) noexcept nogil
    int64_t clamped "tw_clamped"(money_t a) noexcept nogil
    money_t whole "tw_whole"(money_t a, money_t divisor) noexcept nogil
    uint64_t mix "tw_mix"(uint64_t hash, uint64_t word) noexcept nogil
    uint64_t mix_pair "tw_mix_pair"(uint64_t a, uint64_t b) noexcept nogil


cdef inline int64_t low_word(money_t amount) noexcept nogil:
    return <int64_t>amount


cdef inline int64_t high_word(money_t amount) noexcept nogil:
    """What the low word, which is signed, leaves out."""
    return <int64_t>((amount - <int64_t>amount) >> 64)


cdef inline money_t money_of(int64_t low, int64_t high) noexcept nogil:
    """The amount of these words. A record may hold any: an absurd one is still an amount, beyond every bound."""
    return (<money_t>high << 64) + low


cdef inline uint64_t mix_money(uint64_t hash, money_t amount) noexcept nogil:
    """An amount within int64 is one word."""
    hash = mix(hash, <uint64_t>low_word(amount))
    return hash if fits_int64(amount) else mix(hash, <uint64_t>high_word(amount))


cdef inline int64_t power_of_ten(uint32_t exponent) noexcept nogil:
    """Up to 18."""
    cdef int64_t power = 1
    while exponent > 0:
        power *= 10
        exponent -= 1
    return power
