"""The tables behind what people query: the newest event of each order, fills, balances and positions, by account.

A projection of the event stream, compiled because it meets every event. Records are kept packed, outside of Python; who
asks for one gets a copy as bytes, and decodes it.
"""

from array import array

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free

from fastpath.blotter.fills cimport Fills
from fastpath.blotter.newest cimport Newest
from fastpath.blotter.orders cimport Orders
from fastpath.containers.growing cimport grow_zeroed
from fastpath.model.enums cimport (
    EVENT_BALANCE_CHANGED,
    EVENT_INSTRUMENT_DEFINED,
    EVENT_INSTRUMENT_SUCCEEDED,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_FILLED,
    EVENT_ORDER_TRIGGERED,
    EVENT_POSITION_CHANGED,
    EVENT_TRADING_STATUS_CHANGED,
)
from fastpath.model.structs cimport event_t


cdef size_t event_count(const uint8_t[::1] events) except? 0:
    if events.shape[0] % sizeof(event_t):
        raise ValueError(f"{events.shape[0]} bytes are no whole number of events of {sizeof(event_t)} bytes")
    return events.shape[0] // sizeof(event_t)


def changes(const uint8_t[::1] events):
    """What events touched: (accounts, instruments that were defined or whose orders changed, fill events in order)."""
    cdef size_t i, count = event_count(events)
    cdef const event_t* event = <const event_t*>&events[0] if count else NULL
    cdef set accounts = set(), instruments = set()
    cdef list fills = []
    cdef uint32_t last_account = 0, last_instrument = 0
    for i in range(count):
        if EVENT_ORDER_ACCEPTED <= event[i].kind <= EVENT_ORDER_TRIGGERED:
            if event[i].kind == EVENT_ORDER_FILLED:
                fills.append((<const char*>&event[i])[:sizeof(event_t)])
            if event[i].instrument != last_instrument:
                last_instrument = event[i].instrument
                instruments.add(last_instrument)
        elif event[i].kind == EVENT_INSTRUMENT_DEFINED or event[i].kind == EVENT_INSTRUMENT_SUCCEEDED:
            last_instrument = event[i].instrument
            instruments.add(last_instrument)
            continue
        elif event[i].kind != EVENT_BALANCE_CHANGED and event[i].kind != EVENT_POSITION_CHANGED:
            continue
        if event[i].account != last_account:
            last_account = event[i].account
            accounts.add(last_account)
    return accounts, instruments, fills


cdef inline bint is_position(const event_t* event) noexcept:
    """Whether a POSITION_CHANGED tells of one: whole lots, or what is beyond them."""
    return event.of.position.open_qty != 0 or event.of.position.rest != 0 or event.money.rest_high != 0


cdef class Tables:
    """All tables; `apply` brings them up to date. Closed orders and fills are bounded, the oldest are forgotten."""

    cdef readonly Orders orders
    cdef readonly Fills fills
    cdef Newest newest_balances
    cdef Newest newest_positions
    cdef readonly dict statuses       # instrument -> TradingStatus
    cdef size_t max_closed_orders
    cdef uint32_t* holders            # by instrument: accounts with a position in it
    cdef size_t instruments           # it has room for

    def __dealloc__(self):
        free(self.holders)

    def __init__(self, *, size_t closed_orders, size_t fills):
        self.orders = Orders()
        self.fills = Fills(fills)
        self.newest_balances = Newest()
        self.newest_positions = Newest()
        self.statuses = {}
        self.max_closed_orders = closed_orders

    def apply(self, const uint8_t[::1] events):
        """Take events over."""
        cdef size_t i, count = event_count(events)
        cdef const event_t* event = <const event_t*>&events[0] if count else NULL
        for i in range(count):
            if EVENT_ORDER_ACCEPTED <= event[i].kind <= EVENT_ORDER_TRIGGERED:
                self.orders.put(&event[i])
                if event[i].kind == EVENT_ORDER_FILLED:
                    self.fills.add(&event[i])
            elif event[i].kind == EVENT_BALANCE_CHANGED:
                self.newest_balances.put(event[i].of.balance.asset, &event[i])
            elif event[i].kind == EVENT_POSITION_CHANGED:
                self.put_position(&event[i])
            elif event[i].kind == EVENT_INSTRUMENT_DEFINED or event[i].kind == EVENT_TRADING_STATUS_CHANGED:
                self.statuses[event[i].instrument] = event[i].detail.trading_status
        self.orders.forget_oldest(self.max_closed_orders)

    cdef int put_position(self, const event_t* event) except -1:
        """A position changes: its account begins or ceases to hold the instrument, or neither."""
        cdef event_t* newest = self.newest_positions.slot(event.account, event.instrument)
        cdef bint held = is_position(newest)
        if not grow_zeroed(<void**>&self.holders, &self.instruments, sizeof(uint32_t), <size_t>event.instrument + 1):
            raise MemoryError
        if is_position(event) and not held:
            self.holders[event.instrument] += 1
        elif held and not is_position(event):
            self.holders[event.instrument] -= 1
        newest[0] = event[0]
        return 0

    def is_held(self, uint32_t instrument):
        """Whether an account has a position in the instrument."""
        return instrument < self.instruments and self.holders[instrument] > 0

    def open_ids(self, uint32_t account):
        """Ids of an account's open orders, ascending."""
        return sorted(self.orders.open_ids(account))

    def any_open(self, uint32_t flag):
        """Whether an open order of any account has this OrderFlag."""
        return self.orders.any_open(flag)

    def balances(self, uint32_t account):
        """The newest event of each of an account's balances."""
        return self.newest_balances.of_account(account)

    def positions(self, uint32_t account):
        """The newest event of each of an account's positions."""
        return self.newest_positions.of_account(account)

    def save(self):
        """What `load` takes: newest events of orders, ids of the closed ones as they closed, fills, newest events of
        balances and positions, statuses, and what was forgotten; each as bytes."""
        return (
            b"".join(self.orders.all()),
            array("Q", self.orders.closed_ids()).tobytes(),
            b"".join(self.fills.all()),
            b"".join(self.newest_balances.all() + self.newest_positions.all()),
            array("I", [number for pair in self.statuses.items() for number in pair]).tobytes(),
            array("Q", [number for table in (self.orders, self.fills)
                        for number in (table.forgotten_key, table.forgotten_seq)]).tobytes(),
        )

    def load(self, bytes orders not None, bytes closed not None, bytes fills not None, bytes ledger not None,
             bytes statuses not None, bytes forgotten not None):
        """Fill tables that are empty. Bounds that became tighter hold at once. Raises ValueError."""
        cdef size_t i
        cdef const uint8_t[::1] view = orders
        cdef size_t count = event_count(view)
        cdef const event_t* event = <const event_t*><const char*>orders
        for i in range(count):
            self.orders.put(&event[i])
        for order_id in array("Q", closed):
            self.orders.close_again(order_id)
        event = <const event_t*><const char*>fills
        for i in range(event_count(fills)):
            self.fills.add(&event[i])
        self.orders.forgotten_key, self.orders.forgotten_seq, key, seq = array("Q", forgotten)
        self.fills.was_forgotten(key, seq)
        numbers = array("I", statuses)
        self.statuses.update(zip(numbers[::2], numbers[1::2]))
        self.apply(ledger)
