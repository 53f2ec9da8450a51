"""Big zeroed arrays. See `memory.pxd`."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
    void* MAP_FAILED
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)

cdef extern from *:
    """
    #include <sys/mman.h>
    static void advise_huge(void *memory, size_t size) {
    #ifdef MADV_HUGEPAGE
        madvise(memory, size, MADV_HUGEPAGE);  /* advice: if it is not taken, small pages do */
    #endif
    }
    """
    void advise_huge(void* memory, size_t size) nogil

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** memory, size_t alignment, size_t size)

cdef enum:
    CACHE_LINE = 64
    HUGE = 2097152
    HUGE_FROM = 1048576


cdef inline size_t rounded(size_t size) noexcept nogil:
    return (size + HUGE - 1) & ~<size_t>(HUGE - 1)


cdef void* memory_reserve(size_t size) noexcept nogil:
    cdef size_t length = rounded(size)
    cdef char* memory
    cdef char* start
    cdef void* small = NULL
    if size < HUGE_FROM:
        size = (size + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1)      # lines that are shared with nobody
        if posix_memalign(&small, CACHE_LINE, size) != 0:
            return NULL
        return memset(small, 0, size)
    memory = <char*>mmap(NULL, length + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if <void*>memory == MAP_FAILED:
        return NULL
    start = <char*>rounded(<uintptr_t>memory)
    if start != memory:
        munmap(memory, start - memory)
    if start + length != memory + length + HUGE:
        munmap(start + length, memory + HUGE - start)
    advise_huge(start, length)
    return start


cdef void memory_release(void* memory, size_t size) noexcept nogil:
    if size < HUGE_FROM:
        free(memory)
    elif memory != NULL:
        munmap(memory, rounded(size))
