# Big zeroed arrays. Pages are committed when they are first touched, so reserving a bound costs address space only; from 1 MiB
# on they are huge pages where the system grants them (random access to an arena of 4 KiB pages is mostly page-table walks).

cdef void* memory_reserve(size_t size) noexcept nogil        # zeroed, on a cache line; NULL: out of memory
cdef void memory_release(void* memory, size_t size) noexcept nogil   # the size it was reserved with; NULL is allowed
