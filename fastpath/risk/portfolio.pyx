"""Losses of a portfolio over scenarios, their worst, and returns rescaled to the volatility of today.

The functions take numpy arrays (any buffer of doubles), write into what the caller gives, and work without the GIL: a
caller that wants more cores gives each thread a part of the scenarios.
"""

from libc.math cimport sqrt


cdef double dot(const double* a, const double* b, Py_ssize_t count) noexcept nogil:
    """Sum of products, in eight sums side by side: one sum would wait for each addition."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0
    cdef Py_ssize_t at = 0
    while at + 8 <= count:
        s0 += a[at] * b[at]
        s1 += a[at + 1] * b[at + 1]
        s2 += a[at + 2] * b[at + 2]
        s3 += a[at + 3] * b[at + 3]
        s4 += a[at + 4] * b[at + 4]
        s5 += a[at + 5] * b[at + 5]
        s6 += a[at + 6] * b[at + 6]
        s7 += a[at + 7] * b[at + 7]
        at += 8
    while at < count:
        s0 += a[at] * b[at]
        at += 1
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


cdef inline bint less_bad(const double* losses, int64_t a, int64_t b) noexcept nogil:
    """Whether scenario a stands after b in the order of the worst: smaller loss, or as great and later."""
    return losses[a] < losses[b] or (losses[a] == losses[b] and a > b)


cdef inline void sift(const double* losses, int64_t* heap, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Put the scenario at `at` in its place in a heap whose top is the least bad."""
    cdef int64_t moved = heap[at]
    cdef Py_ssize_t child = 2 * at + 1
    while child < size:
        if child + 1 < size and less_bad(losses, heap[child + 1], heap[child]):
            child += 1
        if not less_bad(losses, heap[child], moved):
            break
        heap[at] = heap[child]
        at = child
        child = 2 * at + 1
    heap[at] = moved


cdef void select_worst(const double* losses, Py_ssize_t count, int64_t* found, Py_ssize_t wanted) noexcept nogil:
    """The indices of the `wanted` (1 to count) greatest losses, worst first; of equal losses the first goes first."""
    cdef Py_ssize_t at
    cdef int64_t top
    for at in range(wanted):
        found[at] = at
    for at in range(wanted // 2 - 1, -1, -1):
        sift(losses, found, at, wanted)
    for at in range(wanted, count):
        if losses[at] > losses[found[0]]:
            found[0] = at
            sift(losses, found, 0, wanted)
    for at in range(wanted - 1, 0, -1):
        top = found[0]
        found[0] = found[at]
        found[at] = top
        sift(losses, found, 0, at)


def scenario_losses(const double[:, ::1] returns, const double[::1] values, double[::1] losses):
    """losses[s] = - sum of returns[s, a] * values[a]. Raises ValueError: lengths that do not fit."""
    cdef Py_ssize_t rows = returns.shape[0], columns = returns.shape[1], at
    if values.shape[0] != columns or losses.shape[0] != rows:
        raise ValueError(f"returns of {rows} x {columns} need {columns} values and {rows} losses, "
                         f"not {values.shape[0]} and {losses.shape[0]}")
    if rows == 0 or columns == 0:
        raise ValueError("there are no returns")
    with nogil:
        for at in range(rows):
            losses[at] = 0 - dot(&returns[at, 0], &values[0], columns)


def worst(const double[::1] losses, int64_t[::1] scenarios):
    """Fill `scenarios` with the indices of the greatest losses, worst first; of equal losses the first goes first.

    Losses must not be NaN. Raises ValueError: more are asked for than there are, or none.
    """
    if not 1 <= scenarios.shape[0] <= losses.shape[0]:
        raise ValueError(f"{scenarios.shape[0]} of {losses.shape[0]} losses: ask for 1 to all of them")
    with nogil:
        select_worst(&losses[0], losses.shape[0], &scenarios[0], scenarios.shape[0])


def volatility_filter(const double[:, ::1] returns, double decay, Py_ssize_t begin, double[:, ::1] filtered,
                      double[::1] volatility):
    """Returns after the first `begin`, each times today's volatility over the one forecast for its time.

    v(t)^2 = decay v(t-1)^2 + (1 - decay) r(t-1)^2 a column, begun with the mean square of the first `begin` rows;
    `volatility` becomes the forecast for the row after the last. What comes out is no less than -1. A column whose forecast
    was 0 is not finite. Raises ValueError: lengths that do not fit, a decay not between 0 and 1.
    """
    cdef Py_ssize_t rows = returns.shape[0], columns = returns.shape[1], row, at
    if not 1 <= begin < rows or columns == 0:
        raise ValueError(f"{rows} x {columns} returns: begin is {begin}, from 1 to one less than the rows")
    if filtered.shape[0] != rows - begin or filtered.shape[1] != columns or volatility.shape[0] != columns:
        raise ValueError(f"the filtered returns are {rows - begin} x {columns}, the volatilities {columns}")
    if not 0 < decay < 1:
        raise ValueError(f"decay is {decay}; it must be between 0 and 1")
    cdef double gain = 1 - decay
    with nogil:
        for at in range(columns):
            volatility[at] = 0
        for row in range(begin):
            for at in range(columns):
                volatility[at] += returns[row, at] * returns[row, at]
        for at in range(columns):
            volatility[at] /= begin
        for row in range(begin, rows):  # holds v^2 until the last row is seen
            for at in range(columns):
                filtered[row - begin, at] = returns[row, at] / sqrt(volatility[at])
                volatility[at] = decay * volatility[at] + gain * returns[row, at] * returns[row, at]
        for at in range(columns):
            volatility[at] = sqrt(volatility[at])
        for row in range(rows - begin):
            for at in range(columns):
                filtered[row, at] = max(filtered[row, at] * volatility[at], -1.0)
