"""Monte-Carlo losses: normal and Student-t returns, drawn scenario by scenario and never stored.

The loss of a portfolio in returns L z, z standard normal, is -(L'w)'z: the matrix is multiplied once, not once a
scenario. The draws of the few scenarios that matter are made again.

Bits: SplitMix64 (Steele, Lea, Flood 2014, OOPSLA), begun anew for each scenario. Normals: ziggurat of 256 layers
(Marsaglia, Tsang 2000, JSS 5(8); Doornik 2005, An improved ziggurat method). Chi-square: Marsaglia, Tsang 2000, A simple
method for generating gamma variables, ACM TOMS 26, 363-372.
"""

from libc.math cimport exp, fabs, log, sqrt
from libc.stdint cimport int64_t

cdef enum:
    LAYERS = 256

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15
cdef double TAIL_FROM = 3.6541528853610088
cdef double LAYER_AREA = 0.00492867323399
cdef double[LAYERS + 1] EDGES
cdef double[LAYERS] INSIDE


cdef void build_layers() noexcept:
    """Right edges of the layers, and the share of each that lies below the density whatever the height."""
    cdef double density = exp(-0.5 * TAIL_FROM * TAIL_FROM)
    cdef int at
    EDGES[0] = LAYER_AREA / density
    EDGES[1] = TAIL_FROM
    EDGES[LAYERS] = 0
    for at in range(2, LAYERS):
        EDGES[at] = sqrt(-2 * log(LAYER_AREA / EDGES[at - 1] + density))
        density = exp(-0.5 * EDGES[at] * EDGES[at])
    for at in range(LAYERS):
        INSIDE[at] = EDGES[at + 1] / EDGES[at]


build_layers()


cdef inline uint64_t mixed(uint64_t bits) noexcept nogil:
    bits = (bits ^ (bits >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * <uint64_t>0x94D049BB133111EB
    return bits ^ (bits >> 31)


cdef inline uint64_t next_bits(draws_t* draws) noexcept nogil:
    draws.state += GOLDEN
    return mixed(draws.state)


cdef inline double next_uniform(draws_t* draws) noexcept nogil:
    """Above 0, below 1."""
    return (<double>(next_bits(draws) >> 12) + 0.5) * (1.0 / (<uint64_t>1 << 52))


cdef void begin_scenario(draws_t* draws, uint64_t seed, uint64_t scenario) noexcept nogil:
    draws.state = mixed(mixed(seed + GOLDEN) ^ (scenario * GOLDEN))


cdef double beyond_layers(draws_t* draws, bint negative) noexcept nogil:
    """A normal beyond TAIL_FROM (Marsaglia 1964)."""
    cdef double x, y
    while True:
        x = log(next_uniform(draws)) / TAIL_FROM
        y = log(next_uniform(draws))
        if -2 * y >= x * x:
            return x - TAIL_FROM if negative else TAIL_FROM - x


cdef inline double normal_of(draws_t* draws) noexcept nogil:
    cdef uint64_t bits
    cdef double share, x, above, below
    cdef int layer
    while True:
        bits = next_bits(draws)
        layer = <int>(bits & (LAYERS - 1))
        # The upper 53 bits, signed: above -1, below 1. The layer's bits are not among them.
        share = (<double>(<int64_t>bits >> 11) + 0.5) * (1.0 / (<uint64_t>1 << 52))
        if fabs(share) < INSIDE[layer]:
            return share * EDGES[layer]
        if layer == 0:
            return beyond_layers(draws, share < 0)
        x = share * EDGES[layer]
        above = exp(-0.5 * (EDGES[layer] * EDGES[layer] - x * x))
        below = exp(-0.5 * (EDGES[layer + 1] * EDGES[layer + 1] - x * x))
        if below + next_uniform(draws) * (above - below) < 1:
            return x


cdef double next_normal(draws_t* draws) noexcept nogil:
    return normal_of(draws)


cdef double next_chi_square(draws_t* draws, double freedom) noexcept nogil:
    """`freedom` is above 2."""
    cdef double d = freedom / 2 - 1.0 / 3
    cdef double c = 1 / sqrt(9 * d)
    cdef double x, v
    while True:
        x = normal_of(draws)
        v = 1 + c * x
        if v <= 0:
            continue
        v = v * v * v
        if log(next_uniform(draws)) < 0.5 * x * x + d - d * v + d * log(v):
            return 2 * d * v


cdef inline double begin_draws(draws_t* draws, uint64_t seed, uint64_t scenario, double freedom) noexcept nogil:
    """Begin a scenario; returns what its normals are multiplied by: 1, or sqrt((freedom - 2) / chi-square)."""
    begin_scenario(draws, seed, scenario)
    return sqrt((freedom - 2) / next_chi_square(draws, freedom)) if freedom > 0 else 1.0


def simulate_losses(const double[::1] loadings, uint64_t seed, uint64_t first, double freedom, double[::1] losses):
    """losses[s] = - sum of loadings[a] * draw a of scenario `first` + s. `freedom`: of a Student-t, above 2; 0 is normal.

    Draws have variance 1. Raises ValueError: no loadings, `freedom` neither 0 nor above 2.
    """
    _check(loadings.shape[0], freedom)
    cdef Py_ssize_t columns = loadings.shape[0], at, column
    cdef draws_t draws
    cdef double factor, total
    with nogil:
        for at in range(losses.shape[0]):
            factor = begin_draws(&draws, seed, first + <uint64_t>at, freedom)
            total = 0
            for column in range(columns):
                total += loadings[column] * normal_of(&draws)
            losses[at] = -total * factor


def simulated_draws(const int64_t[::1] scenarios, uint64_t seed, double freedom, double[:, ::1] draws):
    """The draws of these scenarios, one row each, as `simulate_losses` used them. Raises ValueError as it does."""
    _check(draws.shape[1], freedom)
    if draws.shape[0] != scenarios.shape[0]:
        raise ValueError(f"{scenarios.shape[0]} scenarios need as many rows, not {draws.shape[0]}")
    cdef Py_ssize_t at, column
    cdef draws_t state
    cdef double factor
    with nogil:
        for at in range(scenarios.shape[0]):
            factor = begin_draws(&state, seed, <uint64_t>scenarios[at], freedom)
            for column in range(draws.shape[1]):
                draws[at, column] = factor * normal_of(&state)


def _check(columns, freedom):
    if columns == 0:
        raise ValueError("there are no assets")
    if freedom != 0 and not 2 < freedom < float("inf"):
        raise ValueError(f"{freedom} degrees of freedom: 0 for normal, or above 2")
