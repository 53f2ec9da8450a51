# Checked integer arithmetic for money, and the mixing step of every state hash. Inline leaves: no .pyx of their own.
#
# Products run through 128 bits, so nothing wraps unseen; additions of money rely on MAX_MONEY: two amounts within
# +-MAX_MONEY add without overflow, and whoever stores a sum checks it against the bound first.

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define TW_MAX_MONEY ((int64_t)1 << 61)
    #define TW_PPM 1000000

    /* *out = a * b * c if that is within [0, TW_MAX_MONEY]; a, b, c >= 0. Returns 0 and leaves *out alone otherwise. */
    static inline int tw_product(int64_t a, int64_t b, int64_t c, int64_t *out) {
        int64_t ab, abc;
        if (__builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc) || abc > TW_MAX_MONEY)
            return 0;
        *out = abc;
        return 1;
    }

    /* trunc(a * b / divisor), exact in between; |result| must fit because |b| <= divisor. */
    static inline int64_t tw_share(int64_t a, int64_t b, int64_t divisor) {
        return (int64_t)((__int128)a * b / divisor);
    }

    /* The fee of a further notional, so that all fees of an order sum to ceil(sum(rate * notional) / 1e6), however
       many fills it takes. *carry in (-1e6, 0] is what earlier fills overpaid, in millionths of a unit. */
    static inline int64_t tw_fee(int64_t notional, int64_t rate_ppm, int32_t *carry) {
        int64_t fee;
        if (notional < (int64_t)1 << 42) {                      /* |rate| <= 2^20: the product fits 63 bits */
            int64_t exact = notional * rate_ppm + *carry;
            fee = exact / TW_PPM + (exact % TW_PPM > 0);
            *carry = (int32_t)(exact - fee * TW_PPM);
        } else {
            __int128 exact = (__int128)notional * rate_ppm + *carry;
            fee = (int64_t)(exact / TW_PPM) + (exact % TW_PPM > 0);
            *carry = (int32_t)(exact - (__int128)fee * TW_PPM);
        }
        return fee;
    }

    static inline int64_t tw_saturating_add(int64_t a, int64_t b) {
        int64_t sum;
        if (__builtin_add_overflow(a, b, &sum))
            return a < 0 ? INT64_MIN : INT64_MAX;
        return sum;
    }

    /* a * b + c, or the nearest number that fits. */
    static inline int64_t tw_saturating_units(int64_t a, int64_t b, int64_t c) {
        __int128 exact = (__int128)a * b + c;
        return exact > INT64_MAX ? INT64_MAX : exact < INT64_MIN ? INT64_MIN : (int64_t)exact;
    }

    /* How often `divisor` fits into `a`, rounded toward zero whatever the build's rules of division. */
    static inline int64_t tw_whole(int64_t a, int64_t divisor) {
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
    const int64_t MAX_MONEY "TW_MAX_MONEY"
    bint product "tw_product"(int64_t a, int64_t b, int64_t c, int64_t* out) noexcept nogil
    int64_t share "tw_share"(int64_t a, int64_t b, int64_t divisor) noexcept nogil
    int64_t fee_of "tw_fee"(int64_t notional, int64_t rate_ppm, int32_t* carry) noexcept nogil
    int64_t saturating_add "tw_saturating_add"(int64_t a, int64_t b) noexcept nogil
    int64_t saturating_units "tw_saturating_units"(int64_t a, int64_t b, int64_t c) noexcept nogil
    int64_t whole "tw_whole"(int64_t a, int64_t divisor) noexcept nogil
    uint64_t mix "tw_mix"(uint64_t hash, uint64_t word) noexcept nogil
    uint64_t mix_pair "tw_mix_pair"(uint64_t a, uint64_t b) noexcept nogil
