"""The orders of a blotter. Described in orders.pxd."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from fastpath.containers.growing cimport grow, grow_zeroed, keys_append, keys_below, keys_t
from fastpath.model.order_sets cimport is_open_status
from fastpath.model.structs cimport event_t
from fastpath.containers.row_map cimport NO_ROW, row_map_free, row_map_get, row_map_init, row_map_put, row_map_remove, row_map_reserve

SCAN_LIMIT = 20_000
"""Records one call to `page` looks at: a filter that matches little gets short pages instead of a long wait."""

cdef enum:
    WEED_OUT = 1_000              # forgotten keys an account's list may hold before it is looked at


cdef class Orders:
    """Orders by id. Closed ones are forgotten, the earliest first, when the owner says so; open ones never."""

    def __cinit__(self):
        self.free_row = NO_ROW
        self.closed.first = self.closed.last = NO_ROW
        if not row_map_init(&self.rows):
            raise MemoryError

    def __dealloc__(self):
        cdef size_t account
        for account in range(self.account_count):
            free(self.accounts[account].keys.items)
        free(self.accounts)
        free(self.events)
        free(self.links)
        row_map_free(&self.rows)

    def __contains__(self, uint64_t order_id):
        return row_map_get(&self.rows, order_id) != NO_ROW

    def get(self, uint64_t order_id):
        """The newest event of an order; None if it is not held."""
        cdef uint32_t row = row_map_get(&self.rows, order_id)
        return record_of(&self.events[row]) if row != NO_ROW else None

    def page(self, uint32_t account, before, Py_ssize_t limit, wanted):
        """At most `limit` records for which `wanted(record)`, with ids below `before` (None: from the newest on), newest first.

        The second is the `before` of the next page; None if there is none.
        """
        cdef list found = []
        cdef const keys_t* keys
        cdef Py_ssize_t at, stop
        cdef uint32_t row
        if account >= self.account_count:
            return found, None
        keys = &self.accounts[account].keys
        at = keys.count if before is None else keys_below(keys, before)
        stop = max(0, at - SCAN_LIMIT)
        while at > stop and len(found) < limit:
            at -= 1
            row = row_map_get(&self.rows, keys.items[at])
            if row != NO_ROW:
                record = record_of(&self.events[row])
                if wanted(record):
                    found.append(record)
        return found, keys.items[at] if at > 0 else None

    cdef int put(self, const event_t* event) except -1:
        """Take over an event of an order."""
        cdef bint is_open = is_open_status(event.status)
        cdef uint32_t row = row_map_get(&self.rows, event.order_id)
        cdef bint was_open
        if row == NO_ROW:
            row = self.add(event)
            was_open = False
        else:
            was_open = self.links[row].is_open
        self.events[row] = event[0]
        if was_open and not is_open:
            self.unlink(&self.accounts[event.account].open, row)
            self.links[row].is_open = False
            self.link(&self.closed, row)
            self.closed_count += 1
        return 0

    cdef uint32_t add(self, const event_t* event) except? NO_ROW:
        """A row for an order that is new: among the open ones of its account, or closed from the beginning."""
        cdef account_orders_t* account = self.account(event.account)
        cdef uint32_t row = self.free_row
        if row == NO_ROW:
            if (not grow(<void**>&self.events, &self.capacity, sizeof(event_t), <size_t>self.used + 1)
                    or not grow(<void**>&self.links, &self.links_capacity, sizeof(row_links_t), <size_t>self.used + 1)):
                raise MemoryError
            row = self.used
        if not row_map_reserve(&self.rows) or not keys_append(&account.keys, event.order_id):
            raise MemoryError
        if row == self.used:
            self.used += 1
        else:
            self.free_row = self.links[row].next
        row_map_put(&self.rows, event.order_id, row)
        self.links[row].is_open = is_open_status(event.status)
        if self.links[row].is_open:
            self.link(&account.open, row)
        else:
            self.link(&self.closed, row)
            self.closed_count += 1
        return row

    cdef account_orders_t* account(self, uint32_t number) except NULL:
        cdef size_t known = self.account_count, each
        if number >= known:
            if not grow_zeroed(<void**>&self.accounts, &self.account_count, sizeof(account_orders_t), <size_t>number + 1):
                raise MemoryError
            for each in range(known, self.account_count):
                self.accounts[each].open.first = self.accounts[each].open.last = NO_ROW
        return &self.accounts[number]

    cdef void link(self, row_list_t* rows, uint32_t row) noexcept nogil:
        """As the last of a list."""
        self.links[row].next = NO_ROW
        self.links[row].prev = rows.last
        if rows.last == NO_ROW:
            rows.first = row
        else:
            self.links[rows.last].next = row
        rows.last = row

    cdef void unlink(self, row_list_t* rows, uint32_t row) noexcept nogil:
        cdef row_links_t* links = &self.links[row]
        if links.prev == NO_ROW:
            rows.first = links.next
        else:
            self.links[links.prev].next = links.next
        if links.next == NO_ROW:
            rows.last = links.prev
        else:
            self.links[links.next].prev = links.prev

    cdef void forget_oldest(self, size_t kept) noexcept nogil:
        """Let go of the orders that closed first, until `kept` closed ones are left."""
        cdef uint32_t row
        cdef const event_t* event
        cdef account_orders_t* account
        while self.closed_count > kept:
            row = self.closed.first
            event = &self.events[row]
            self.unlink(&self.closed, row)
            self.closed_count -= 1
            self.forgotten_key = max(self.forgotten_key, event.order_id)
            self.forgotten_seq = max(self.forgotten_seq, event.event_seq)
            row_map_remove(&self.rows, event.order_id)
            account = &self.accounts[event.account]
            account.forgotten += 1
            self.links[row].next = self.free_row
            self.free_row = row
            if account.forgotten > WEED_OUT and account.forgotten * 2 > account.keys.count:
                self.weed_out(account)

    cdef void weed_out(self, account_orders_t* account) noexcept nogil:
        cdef size_t at, kept = 0
        for at in range(account.keys.count):
            if row_map_get(&self.rows, account.keys.items[at]) != NO_ROW:
                account.keys.items[kept] = account.keys.items[at]
                kept += 1
        account.keys.count = kept
        account.forgotten = 0

    cdef bint any_open(self, uint32_t flag) noexcept nogil:
        """Whether an open order has this OrderFlag."""
        cdef size_t account
        cdef uint32_t row
        for account in range(self.account_count):
            row = self.accounts[account].open.first
            while row != NO_ROW:
                if self.events[row].detail.flags & flag:
                    return True
                row = self.links[row].next
        return False

    cdef list open_ids(self, uint32_t account):
        """Of an account's open orders."""
        return self.ids_of(self.accounts[account].open.first) if account < self.account_count else []

    cdef list closed_ids(self):
        """In the order in which they closed."""
        return self.ids_of(self.closed.first)

    cdef list ids_of(self, uint32_t row):
        cdef list found = []
        while row != NO_ROW:
            found.append(self.events[row].order_id)
            row = self.links[row].next
        return found

    cdef list all(self):
        """All records, those of an account in the order they came."""
        cdef list found = []
        cdef size_t account, at
        cdef uint32_t row
        for account in range(self.account_count):
            for at in range(self.accounts[account].keys.count):
                row = row_map_get(&self.rows, self.accounts[account].keys.items[at])
                if row != NO_ROW:
                    found.append(record_of(&self.events[row]))
        return found

    cdef int close_again(self, uint64_t order_id) except -1:
        """Make a closed order the one that closed last."""
        cdef uint32_t row = row_map_get(&self.rows, order_id)
        if row == NO_ROW or self.links[row].is_open:
            raise ValueError(f"order {order_id} is not among those that closed")
        self.unlink(&self.closed, row)
        self.link(&self.closed, row)
        return 0


cdef bytes record_of(const event_t* event):
    return (<const char*>event)[:sizeof(event_t)]
