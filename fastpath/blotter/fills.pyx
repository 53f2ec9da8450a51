"""The fills of a blotter. Described in fills.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from fastpath.blotter.orders import SCAN_LIMIT

from fastpath.containers.growing cimport grow, grow_zeroed, keys_append, keys_below, keys_cut, keys_t
from fastpath.model.structs cimport event_t

cdef enum:
    WEED_OUT = 1_000              # forgotten numbers an account's list may hold before they are cut off


cdef class Fills:
    """Fills by event_seq, at most `bound`."""

    def __cinit__(self, size_t bound):
        self.bound = bound

    def __dealloc__(self):
        cdef size_t account
        for account in range(self.account_count):
            free(self.accounts[account].numbers.items)
        free(self.accounts)
        free(self.ring)

    def __contains__(self, uint64_t event_seq):
        cdef uint64_t number = self.number_of(event_seq)
        return number < self.end and self.at(number).event_seq == event_seq

    def page(self, uint32_t account, before, Py_ssize_t limit, wanted):
        """As `Orders.page`; `before` is an event_seq."""
        cdef list found = []
        cdef const keys_t* numbers
        cdef Py_ssize_t at, stop
        if account >= self.account_count:
            return found, None
        numbers = &self.accounts[account].numbers
        at = numbers.count if before is None else keys_below(numbers, self.number_of(before))
        stop = max(<Py_ssize_t>self.accounts[account].forgotten, at - SCAN_LIMIT)
        while at > stop and len(found) < limit:
            at -= 1
            record = (<const char*>self.at(numbers.items[at]))[:sizeof(event_t)]
            if wanted(record):
                found.append(record)
        if at <= <Py_ssize_t>self.accounts[account].forgotten:
            return found, None
        return found, self.at(numbers.items[at]).event_seq

    cdef const event_t* at(self, uint64_t number) noexcept nogil:
        return &self.ring[number % self.capacity]

    cdef uint64_t number_of(self, uint64_t event_seq) noexcept nogil:
        """Number of the first fill held that is not before `event_seq`."""
        cdef uint64_t low = self.first, high = self.end, middle
        while low < high:
            middle = low + (high - low) // 2
            if self.at(middle).event_seq < event_seq:
                low = middle + 1
            else:
                high = middle
        return low

    cdef int add(self, const event_t* event) except -1:
        cdef account_fills_t* account
        if self.bound == 0:
            self.was_forgotten(event.event_seq, event.event_seq)
            return 0
        if self.end - self.first == self.bound:
            self.forget_first()
        # While it grows the oldest is number 0, so that none has another place in the larger ring.
        if (not grow(<void**>&self.ring, &self.capacity, sizeof(event_t), self.end - self.first + 1)
                or not grow_zeroed(<void**>&self.accounts, &self.account_count, sizeof(account_fills_t), <size_t>event.account + 1)):
            raise MemoryError
        account = &self.accounts[event.account]
        if not keys_append(&account.numbers, self.end):
            raise MemoryError
        self.ring[self.end % self.capacity] = event[0]
        self.end += 1
        return 0

    cdef void forget_first(self) noexcept:
        cdef const event_t* event = self.at(self.first)
        cdef account_fills_t* account = &self.accounts[event.account]
        self.was_forgotten(event.event_seq, event.event_seq)
        self.first += 1
        account.forgotten += 1
        if account.forgotten > WEED_OUT and account.forgotten * 2 > account.numbers.count:
            keys_cut(&account.numbers, account.forgotten)
            account.forgotten = 0

    cdef void was_forgotten(self, uint64_t key, uint64_t seq) noexcept:
        self.forgotten_key = max(self.forgotten_key, key)
        self.forgotten_seq = max(self.forgotten_seq, seq)

    cdef list all(self):
        """All records, oldest first."""
        return [(<const char*>self.at(number))[:sizeof(event_t)] for number in range(self.first, self.end)]
