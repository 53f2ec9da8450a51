"""Losses of a portfolio over scenarios. Doubles, rows one after the other; no memory is taken, nothing is raised."""

from libc.stdint cimport int64_t


cdef double dot(const double* a, const double* b, Py_ssize_t count) noexcept nogil
cdef void select_worst(const double* losses, Py_ssize_t count, int64_t* found, Py_ssize_t wanted) noexcept nogil
