"""The tables behind what people query: the newest event of each order, fills, balances and positions, by account.

A projection of the event stream, compiled because it meets every event. Records are kept packed; who asks for one decodes
it. Tables are ordinary dictionaries and lists, read from Python.
"""

from array import array
from bisect import bisect_left
from collections import deque

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.model cimport (
    EVENT_BALANCE_CHANGED,
    EVENT_INSTRUMENT_DEFINED,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_FILLED,
    EVENT_ORDER_TRIGGERED,
    EVENT_POSITION_CHANGED,
    EVENT_TRADING_STATUS_CHANGED,
    ORDER_STATUS_NEW,
    ORDER_STATUS_PARTIALLY_FILLED,
    event_t,
)

SCAN_LIMIT = 20_000
"""Records one call to `History.page` looks at: a filter that matches little gets short pages instead of a long wait."""

cdef enum:
    WEED_OUT = 1_000              # forgotten keys an account's list may hold before it is looked at


cdef class History:
    """Records by key, and the keys of each account in the order they came. Keys of an account only grow.

    Bounded by its owner, who forgets the oldest.
    """

    cdef readonly dict records        # key -> bytes
    cdef readonly uint64_t forgotten_key    # the largest key of what was forgotten, 0: nothing was
    cdef readonly uint64_t forgotten_seq    # the latest event of what was forgotten
    cdef dict keys                    # account -> ascending keys, some of them forgotten
    cdef dict forgotten               # account -> how many

    def __init__(self):
        self.records = {}
        self.keys = {}
        self.forgotten = {}

    cdef void add(self, uint32_t account, object key, bytes record) except *:
        cdef list keys = self.keys.get(account)
        if keys is None:
            keys = self.keys[account] = []
        keys.append(key)
        self.records[key] = record

    cdef void forget(self, object key) except *:
        cdef bytes record = self.records.pop(key)
        cdef const event_t* event = <const event_t*><const char*>record
        cdef uint32_t account = event.account
        cdef list keys = self.keys[account]
        cdef Py_ssize_t count = self.forgotten.get(account, 0) + 1
        self.forgotten_key = max(self.forgotten_key, <uint64_t>key)
        self.forgotten_seq = max(self.forgotten_seq, event.event_seq)
        if count > WEED_OUT and count * 2 > len(keys):
            self.keys[account] = [kept for kept in keys if kept in self.records]
            count = 0
        self.forgotten[account] = count

    def page(self, uint32_t account, before, Py_ssize_t limit, wanted):
        """At most `limit` records for which `wanted(record)`, with keys below `before` (None: from the newest on), newest first.

        The second is the `before` of the next page; None if there is none.
        """
        cdef list keys = self.keys.get(account, [])
        cdef list found = []
        cdef Py_ssize_t at = len(keys) if before is None else bisect_left(keys, before)
        cdef Py_ssize_t stop = max(0, at - SCAN_LIMIT)
        while at > stop and len(found) < limit:
            at -= 1
            record = self.records.get(keys[at])
            if record is not None and wanted(record):
                found.append(record)
        return found, keys[at] if at > 0 else None


cdef class Tables:
    """All tables; `apply` brings them up to date. Closed orders and fills are bounded, the oldest are forgotten."""

    cdef readonly History orders      # by order_id: the newest event of the order
    cdef readonly History fills       # by event_seq
    cdef readonly dict open_orders    # account -> {order_id: None}, in order of acceptance
    cdef readonly dict balances       # account -> {asset: record}
    cdef readonly dict positions      # account -> {instrument: record}
    cdef readonly dict statuses       # instrument -> TradingStatus
    cdef Py_ssize_t max_closed_orders
    cdef Py_ssize_t max_fills
    cdef object closed                # order_ids by the time they closed
    cdef object filled                # event_seqs of fills

    def __init__(self, *, Py_ssize_t closed_orders, Py_ssize_t fills):
        self.orders = History()
        self.fills = History()
        self.open_orders = {}
        self.balances = {}
        self.positions = {}
        self.statuses = {}
        self.max_closed_orders = closed_orders
        self.max_fills = fills
        self.closed = deque()
        self.filled = deque()

    def apply(self, const uint8_t[::1] events):
        """Take events over. Returns (accounts touched, instruments whose orders changed, fill events in order)."""
        cdef size_t i, count = events.shape[0] // sizeof(event_t)
        cdef const event_t* event = <const event_t*>&events[0] if count else NULL
        cdef set accounts = set(), instruments = set()
        cdef list fills = []
        cdef uint32_t last_account = 0, last_instrument = 0
        cdef bytes record
        if events.shape[0] % sizeof(event_t):
            raise ValueError(f"{events.shape[0]} bytes are no whole number of events of {sizeof(event_t)} bytes")
        for i in range(count):
            if EVENT_ORDER_ACCEPTED <= event[i].kind <= EVENT_ORDER_TRIGGERED:
                record = (<const char*>&event[i])[:sizeof(event_t)]
                self.order_changed(&event[i], record)
                if event[i].kind == EVENT_ORDER_FILLED:
                    self.fills.add(event[i].account, event[i].event_seq, record)
                    self.filled.append(event[i].event_seq)
                    fills.append(record)
                if event[i].instrument != last_instrument:
                    last_instrument = event[i].instrument
                    instruments.add(last_instrument)
            elif event[i].kind == EVENT_BALANCE_CHANGED:
                put(self.balances, event[i].account, event[i].asset, &event[i])
            elif event[i].kind == EVENT_POSITION_CHANGED:
                put(self.positions, event[i].account, event[i].instrument, &event[i])
            else:
                if event[i].kind == EVENT_INSTRUMENT_DEFINED or event[i].kind == EVENT_TRADING_STATUS_CHANGED:
                    self.statuses[event[i].instrument] = event[i].flags
                continue
            if event[i].account != last_account:
                last_account = event[i].account
                accounts.add(last_account)
        self.forget_oldest()
        return accounts, instruments, fills

    cdef void order_changed(self, const event_t* event, bytes record) except *:
        cdef bint is_open = event.status == ORDER_STATUS_NEW or event.status == ORDER_STATUS_PARTIALLY_FILLED
        cdef object order_id = event.order_id
        cdef dict open_orders = self.open_orders.get(event.account)
        if open_orders is None:
            open_orders = self.open_orders[event.account] = {}
        if order_id not in self.orders.records:
            self.orders.add(event.account, order_id, record)
            if is_open:
                open_orders[order_id] = None
            else:
                self.closed.append(order_id)
            return
        self.orders.records[order_id] = record
        if not is_open and order_id in open_orders:
            del open_orders[order_id]
            self.closed.append(order_id)

    def save(self):
        """What `load` takes: newest events of orders, ids of the closed ones as they closed, fills, newest events of
        balances and positions, statuses, and what was forgotten; each as bytes."""
        ledger = [record for table in (self.balances, self.positions) for row in table.values() for record in row.values()]
        return (
            b"".join(self.orders.records.values()),
            array("Q", self.closed).tobytes(),
            b"".join(self.fills.records.values()),
            b"".join(ledger),
            array("I", [number for pair in self.statuses.items() for number in pair]).tobytes(),
            array("Q", [number for table in (self.orders, self.fills)
                        for number in (table.forgotten_key, table.forgotten_seq)]).tobytes(),
        )

    def load(self, bytes orders not None, bytes closed not None, bytes fills not None, bytes ledger not None,
             bytes statuses not None, bytes forgotten not None):
        """Fill tables that are empty. Bounds that became tighter hold at once."""
        cdef const event_t* event
        cdef bytes record
        for record in records_of(orders):
            event = <const event_t*><const char*>record
            self.order_changed(event, record)
        self.closed = deque(array("Q", closed))
        for record in records_of(fills):
            event = <const event_t*><const char*>record
            self.fills.add(event.account, event.event_seq, record)
            self.filled.append(event.event_seq)
        self.apply(ledger)
        numbers = array("I", statuses)
        self.statuses.update(zip(numbers[::2], numbers[1::2]))
        (self.orders.forgotten_key, self.orders.forgotten_seq,
         self.fills.forgotten_key, self.fills.forgotten_seq) = array("Q", forgotten)
        self.forget_oldest()

    cdef void forget_oldest(self) except *:
        while len(self.closed) > self.max_closed_orders:
            self.orders.forget(self.closed.popleft())
        while len(self.filled) > self.max_fills:
            self.fills.forget(self.filled.popleft())


def records_of(bytes events):
    return [events[at:at + sizeof(event_t)] for at in range(0, len(events), sizeof(event_t))]


cdef void put(dict table, uint32_t account, uint32_t key, const event_t* event) except *:
    cdef dict row = table.get(account)
    if row is None:
        row = table[account] = {}
    row[key] = (<const char*>event)[:sizeof(event_t)]
