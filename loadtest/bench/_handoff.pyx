# cython: language_level=3
"""One command a call through the compiled entry of the engine, each report read by a thread on another core.

Built by `loadtest.bench.handoff` when it runs: it stands for a program of yours that drives a book and hands on what happens.
"""

from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastpath.standalone.engine cimport (
    ENGINE_CANCEL,
    ENGINE_NEW,
    engine_add_book,
    engine_apply,
    engine_cancel,
    engine_command_t,
    engine_free,
    engine_new,
    engine_new_order,
    engine_submit,
    engine_t,
    report_t,
    reports_room,
    reports_t,
    write_report,
)
from fastpath.containers.memory cimport memory_release, memory_reserve

cdef extern from *:
    """
    #include <pthread.h>
    #include <sched.h>
    #include <stdint.h>
    typedef struct {                      /* on lines of its own, each counter too: no core disturbs what another one writes */
        uint64_t published; char a[56];   /* number of reports complete */
        uint64_t consumed; char b[56];
        uint64_t done; uint64_t sum; const uint64_t *words; uint64_t mask; char c[32];
    } __attribute__((aligned(64))) tw_ring_t;
    static uint64_t tw_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static void tw_store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static void *tw_reader(void *argument) {
        tw_ring_t *ring = argument;
        uint64_t at = 0, sum = 0;
        for (;;) {
            const uint64_t done = tw_load(&ring->done), head = tw_load(&ring->published);
            if (at == head) { if (done) break; sched_yield(); continue; }
            for (; at < head; at++) {
                const uint64_t *w = ring->words + 8 * (at & ring->mask);
                for (int k = 0; k < 8; k++) sum += w[k];
            }
            tw_store(&ring->consumed, at);
        }
        ring->sum = sum;
        return 0;
    }
    static int tw_start(pthread_t *thread, tw_ring_t *ring) { return pthread_create(thread, 0, tw_reader, ring); }
    """
    ctypedef struct pthread_t:
        pass
    ctypedef struct ring_t "tw_ring_t":
        uint64_t published
        uint64_t consumed
        uint64_t done
        uint64_t sum
        const uint64_t* words
        uint64_t mask
    uint64_t load "tw_load"(const uint64_t* p) nogil
    void store "tw_store"(uint64_t* p, uint64_t v) nogil
    int start "tw_start"(pthread_t* thread, ring_t* ring) nogil
    int pthread_join(pthread_t thread, void** result) nogil
    int sched_yield() nogil


cdef enum:
    PUBLISH_EVERY = 16            # commands: the line that says how far to read goes from core to core less often. 16 take a microsecond


cdef inline bint one(engine_t* engine, const engine_command_t* command, reports_t* reports) noexcept nogil:
    if command.op == ENGINE_NEW:
        return engine_new_order(engine, command.instrument, command.id, command.side, command.time_in_force, command.flags,
                                command.price, command.qty, reports)
    if command.op == ENGINE_CANCEL:
        return engine_cancel(engine, command.instrument, command.id, reports)
    return engine_submit(engine, command, NULL, reports)


cdef inline bint blank(uint64_t number, reports_t* reports) noexcept nogil:
    """A report of nothing."""
    if reports_room(reports) == 0:
        return False
    write_report(reports, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return True


cdef double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


def drive(const unsigned char[::1] records, uint64_t prefill, uint32_t max_orders, uint64_t capacity, bint matched, bint handed):
    """(seconds until all reports of what follows the prefill have been read, reports, sum of the words read).

    matched: by the engine. Otherwise each command is a report of nothing: what the way from core to core takes by itself.
    handed: to another core. Otherwise nobody reads them, and the sum is 0: what the engine takes by itself.
    """
    cdef const engine_command_t* commands = <const engine_command_t*>&records[0]
    cdef uint64_t n = records.shape[0] // sizeof(engine_command_t)
    cdef uint64_t i = 0
    cdef reports_t reports
    cdef ring_t ring
    cdef pthread_t thread
    cdef double began, ended
    cdef engine_t* engine = engine_new(max_orders, 2)
    reports.records = <report_t*>memory_reserve(capacity * sizeof(report_t))
    if engine == NULL or reports.records == NULL or not engine_add_book(engine, 1):
        raise MemoryError
    reports.mask = capacity - 1
    reports.head = 0
    reports.limit = capacity
    with nogil:
        while i < prefill:
            i += engine_apply(engine, &commands[i], prefill - i, &reports)
            reports.limit = reports.head + capacity
    ring.published = ring.consumed = 0
    ring.done = ring.sum = 0
    ring.words = <const uint64_t*>reports.records
    ring.mask = capacity - 1
    reports.head = 0
    reports.limit = capacity
    if handed and start(&thread, &ring) != 0:
        raise OSError("no thread")
    with nogil:
        began = clock()
        while i < n:
            if one(engine, &commands[i], &reports) if matched else blank(i, &reports):
                i += 1
                if i % PUBLISH_EVERY == 0:
                    store(&ring.published, reports.head)
            elif handed:
                store(&ring.published, reports.head)
                reports.limit = load(&ring.consumed) + capacity
                sched_yield()
            else:
                reports.limit = reports.head + capacity
        store(&ring.published, reports.head)
        while handed and load(&ring.consumed) != reports.head:
            sched_yield()
        ended = clock()
        if handed:
            store(&ring.done, 1)
            pthread_join(thread, NULL)
    memory_release(reports.records, capacity * sizeof(report_t))
    engine_free(engine)
    return ended - began, reports.head, ring.sum
