"""The exchange: commands in, events out, and questions about the state between.

The state is a function of the commands applied, and of nothing else: no clock, no random numbers, no other input. The same commands
give the same events and the same `state_hash`, in one batch or in many.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastpath.exchange.amending cimport amend
from fastpath.state.audit cimport audit, unbalanced_assets
from fastpath.book.book cimport book_depth, depth_t
from fastpath.exchange.canceling cimport cancel
from fastpath.state.in_flight cimport changes_t
from fastpath.exchange.definitions cimport define_account, define_asset, define_instrument, set_reference_prices, set_trading_status
from fastpath.state.events cimport (
    events_begin_batch,
    events_begin_command,
    events_end_batch,
    events_end_command,
    events_reject_command,
    show_order,
)
from fastpath.exchange.contingent cimport follow_up
from fastpath.exchange.transfers cimport adjust_balance
from fastpath.containers.heap cimport heap_t
from fastpath.containers.hash_index cimport NO_ROW
from fastpath.state.ledger cimport FEE_ACCOUNT as FEES
from fastpath.state.ledger cimport OUTSIDE_ACCOUNT as OUTSIDE
from fastpath.state.ledger cimport balance_t, ledger_first_rows, position_t
from fastpath.exchange.mass_cancel cimport mass_cancel, session_closed
from fastpath.book.mirror cimport shown_side_t
from fastpath.model.enums cimport (
    COMMAND_ADJUST_BALANCE,
    COMMAND_AMEND,
    COMMAND_ARRIVALS,
    COMMAND_CANCEL,
    COMMAND_DEFINE_ACCOUNT,
    COMMAND_DEFINE_ASSET,
    COMMAND_DEFINE_INSTRUMENT,
    COMMAND_MASS_CANCEL,
    COMMAND_MIRROR_BEGIN,
    COMMAND_MIRROR_CANCELED,
    COMMAND_PLACE,
    COMMAND_SESSION_CLOSED,
    COMMAND_SET_DEADMAN_TIMER,
    COMMAND_SET_REFERENCE_PRICES,
    COMMAND_SET_TRADING_STATUS,
    COMMAND_SUCCEED_INSTRUMENT,
    COMMAND_TIMER,
    REJECT_REASON_INVALID_COMMAND,
)
from fastpath.model.structs cimport (
    account_def_t,
    asset_def_t,
    command_t,
    event_t,
    instrument_def_t,
    mirror_command_t,
    reference_prices_t,
    trading_status_t,
)
from fastpath.state.orders cimport CLIENT_ORDER_ID_SIZE, client_order_id_hash, order_record_t, orders_find, orders_find_client
from fastpath.paper.fills cimport mirror_command
from fastpath.exchange.placing_plain cimport place_plain
from fastpath.exchange.prefetch cimport prefetch_batch, prefetch_first, prefetch_t
from fastpath.state.route cimport is_mirrored
from fastpath.state.settlement cimport flush_ledger
from fastpath.state.snapshot cimport snapshot_load, snapshot_save
from fastpath.state.state cimport bounds_t, find_instrument, instrument_t, state_free, state_hash, state_new, state_t
from fastpath.exchange.succession cimport succeed_instrument
from fastpath.exchange.timers cimport next_arrival, next_timer, run_arrivals, run_timers, set_deadman_timer
from fastpath.exchange.placing cimport place
from fastpath.state.valuation cimport valuation_of, valuation_t
from fastpath.state.triggers cimport WATCHED_PRICES, reach_t, trigger_reach

OUTSIDE_ACCOUNT = <uint32_t>OUTSIDE      # the world: the other leg of deposits, the counterparty at mirrored venues
FEE_ACCOUNT = <uint32_t>FEES             # what traders paid in fees, less rebates

MAX_DEPTH = 10_000


cdef void apply_command(state_t* state, const command_t* command) noexcept nogil:
    events_begin_command(&state.events, command)
    state.last_seq = command.seq
    if command.kind == COMMAND_PLACE:
        if not place_plain(state, command):
            place(state, command)
    elif command.kind == COMMAND_CANCEL:
        cancel(state, command)
    elif command.kind == COMMAND_AMEND:
        amend(state, command)
    elif COMMAND_MIRROR_BEGIN <= command.kind <= COMMAND_MIRROR_CANCELED:
        mirror_command(state, <const mirror_command_t*>command)
    elif command.kind == COMMAND_TIMER:
        run_timers(state, command)
    elif command.kind == COMMAND_ARRIVALS:
        run_arrivals(state, command)
    elif command.kind == COMMAND_MASS_CANCEL:
        mass_cancel(state, command)
    elif command.kind == COMMAND_SESSION_CLOSED:
        session_closed(state, command)
    elif command.kind == COMMAND_SET_DEADMAN_TIMER:
        set_deadman_timer(state, command)
    elif command.kind == COMMAND_ADJUST_BALANCE:
        adjust_balance(state, command)
    elif command.kind == COMMAND_DEFINE_ASSET:
        define_asset(state, <const asset_def_t*>command)
    elif command.kind == COMMAND_DEFINE_INSTRUMENT:
        define_instrument(state, <const instrument_def_t*>command)
    elif command.kind == COMMAND_DEFINE_ACCOUNT:
        define_account(state, <const account_def_t*>command)
    elif command.kind == COMMAND_SET_TRADING_STATUS:
        set_trading_status(state, <const trading_status_t*>command)
    elif command.kind == COMMAND_SET_REFERENCE_PRICES:
        set_reference_prices(state, <const reference_prices_t*>command)
    elif command.kind == COMMAND_SUCCEED_INSTRUMENT:
        succeed_instrument(state, command)
    else:
        events_reject_command(&state.events, REJECT_REASON_INVALID_COMMAND)
    follow_up(state)
    flush_ledger(state)
    events_end_command(&state.events)


cdef class Exchange:
    """All trading state of a venue: books, orders, balances, positions. One thread at a time."""

    cdef state_t* state
    cdef bint busy               # a thread is inside apply(), which holds no GIL

    def __cinit__(self, *, uint32_t max_orders=4_000_000, uint32_t max_open_orders=1_000_000,
                  uint32_t max_instruments=4096, uint32_t max_accounts=65_536, uint32_t max_assets=4096):
        cdef bounds_t bounds
        if not (0 < max_orders < 2**31 and 0 < max_open_orders < 2**31 and 0 < max_instruments < 65_536
                and 0 < max_accounts < 2**31 and 0 < max_assets < 2**31):
            raise ValueError("every bound of an Exchange is at least 1; instruments at most 65,535, others below 2**31")
        bounds.max_orders = max_orders
        bounds.max_open_orders = max_open_orders
        bounds.max_instruments = max_instruments
        bounds.max_accounts = max_accounts
        bounds.max_assets = max_assets
        self.state = state_new(bounds)
        if self.state == NULL:
            raise MemoryError("no memory for an Exchange of these bounds")

    def __dealloc__(self):
        state_free(self.state)

    cdef int guard(self) except -1:
        if self.busy:
            raise RuntimeError("another thread is inside apply(); an Exchange serves one thread at a time")
        if self.state.events.out_of_memory:
            raise RuntimeError("memory ran out in the middle of a command: this state is incomplete, rebuild it")
        return 0

    cdef int check_sequence(self, const command_t* commands, size_t count) except -1:
        cdef uint64_t last = self.state.last_seq
        cdef size_t i
        for i in range(count):
            if commands[i].seq <= last:
                raise ValueError(f"command {i} has seq {commands[i].seq}, which does not follow {last}")
            last = commands[i].seq
        return 0

    def apply(self, const uint8_t[::1] commands not None) -> bytes:
        """Apply n*192 bytes of command records; returns m*256 bytes of event records, in order.

        ValueError, before anything happened, for a length that is no multiple of 192 or a seq that does not increase.
        MemoryError if memory ran out: on the way, the state is incomplete then and answers nothing any more.
        """
        cdef size_t size = <size_t>commands.shape[0]
        cdef size_t count = size // sizeof(command_t)
        cdef const command_t* first = <const command_t*>&commands[0] if size else NULL
        cdef prefetch_t ahead
        cdef size_t i
        self.guard()
        if size % sizeof(command_t) != 0:
            raise ValueError(f"commands are records of {sizeof(command_t)} bytes; got {size} bytes")
        self.check_sequence(first, count)
        if not events_begin_batch(&self.state.events, count):
            raise MemoryError("no memory for the events of these commands; none of them was carried out")
        self.busy = True
        with nogil:
            prefetch_first(&ahead, self.state, first, count)
            for i in range(count):
                prefetch_batch(&ahead, self.state, first, i, count)
                apply_command(self.state, &first[i])
        self.busy = False
        return events_end_batch(&self.state.events)

    def save(self) -> bytes:
        """All trading state, as `load` takes it. It belongs to this version's formats: keep it beside a journal."""
        self.guard()
        return snapshot_save(self.state)

    def load(self, const uint8_t[::1] saved not None) -> None:
        """Take over the state that `save` gave, in place of the present one.

        ValueError, and nothing changed, for anything else, and for a state beyond this exchange's bounds.
        """
        self.guard()
        cdef state_t* loaded = snapshot_load(saved, self.state.bounds)
        state_free(self.state)
        self.state = loaded

    def state_hash(self) -> int:
        """A fingerprint of all trading state, equal whenever the same commands were applied."""
        self.guard()
        return state_hash(self.state)

    def validate(self) -> None:
        """Check every invariant the slow way. AssertionError names the one that is broken."""
        self.guard()
        cdef const char* broken = audit(self.state)
        if broken != NULL:
            raise AssertionError(broken.decode())

    def unbalanced_assets(self) -> int:
        """Assets whose balances do not sum to 0 over all accounts: 0, or the ledger is wrong. Looks at each once."""
        self.guard()
        cdef int64_t unbalanced = unbalanced_assets(self.state)
        if unbalanced < 0:
            raise MemoryError
        return unbalanced

    @property
    def last_seq(self) -> int:
        """Of the last command applied."""
        return self.state.last_seq

    @property
    def event_seq(self) -> int:
        """Of the last event."""
        return self.state.events.seq

    @property
    def next_timer_ns(self) -> int | None:
        """When the next TIMER command is due (it may find nothing to do); None: nothing waits for a time.

        0, at once: a cascade of triggers was longer than one command carries out.
        """
        cdef int64_t due = next_timer(self.state)
        if self.state.touched.count > 0:
            return 0
        return None if due == INT64_MAX else due

    @property
    def next_arrival_ns(self) -> int | None:
        """When the next ARRIVALS command is due; None: no order, cancel or amendment is on its way to a mirrored venue."""
        cdef int64_t due = next_arrival(self.state)
        return None if due == INT64_MAX else due

    def arriving(self, int64_t ts_ns) -> set:
        """The instruments to which orders and changes of them get by that time: their mirrors must be up to date then."""
        self.guard()
        cdef const heap_t* transit = &self.state.transit
        cdef const changes_t* changes = &self.state.changes
        cdef const order_record_t* orders = self.state.orders.records
        cdef uint32_t i
        cdef set instruments = {orders[transit.items[i].number].instrument
                                for i in range(transit.count) if transit.items[i].key <= ts_ns}
        return instruments | {orders[changes.items[i].number].instrument
                              for i in range(changes.count) if changes.items[i].due_ns <= ts_ns}

    @property
    def order_count(self) -> int:
        """Orders ever stored, refused ones included."""
        return self.state.orders.count

    @property
    def open_order_count(self) -> int:
        return self.state.orders.open_count

    def depth(self, uint32_t instrument, uint32_t levels) -> tuple:
        """(bids, asks), best first, each level (price ticks, lots displayed, orders); of a mirrored instrument, the resting
        paper orders. KeyError if there is no such instrument; ValueError beyond MAX_DEPTH levels."""
        self.guard()
        cdef const instrument_t* found = find_instrument(self.state, instrument)
        if found == NULL:
            raise KeyError(instrument)
        if not 0 < levels <= MAX_DEPTH:
            raise ValueError(f"ask for 1 to {MAX_DEPTH} levels")
        cdef depth_t* out = <depth_t*>malloc(levels * sizeof(depth_t))
        cdef uint8_t side
        cdef uint32_t count, i
        if out == NULL:
            raise MemoryError
        sides = []
        try:
            for side in range(1, 3):
                count = book_depth(found.book, side, out, levels)
                sides.append([(out[i].price, out[i].qty, out[i].orders) for i in range(count)])
        finally:
            free(out)
        return tuple(sides)

    def taken(self, uint32_t instrument) -> list:
        """(side, price, lots) of what paper orders have taken of the levels that a mirror shows. KeyError if there is no such
        instrument."""
        self.guard()
        cdef const instrument_t* found = find_instrument(self.state, instrument)
        cdef const shown_side_t* shown
        cdef uint32_t side, i
        if found == NULL:
            raise KeyError(instrument)
        levels = []
        for side in range(2 if is_mirrored(found) else 0):
            shown = &found.mirror.shown[side]
            for i in range(shown.count):
                if shown.levels[i].consumed > 0:
                    levels.append((side + 1, shown.levels[i].price, shown.levels[i].consumed))
        return levels

    def valuation(self, uint32_t instrument, int64_t ts_ns) -> tuple:
        """(price, stale): what positions in the instrument are valued by at a time, in ticks, 0 if no price is known. Stale: it
        holds no more. KeyError if there is no such instrument."""
        self.guard()
        cdef const instrument_t* found = find_instrument(self.state, instrument)
        cdef valuation_t valuation
        if found == NULL:
            raise KeyError(instrument)
        valuation = valuation_of(found, ts_ns)
        return valuation.price, bool(valuation.stale)

    def watched(self, uint32_t instrument) -> list:
        """What conditional orders of the instrument wait for: (low, high) of the last, bid, ask, middle, mark and index price.

        A price at `low` or below, or at `high` or above, can change something. KeyError if there is no such instrument.
        """
        self.guard()
        cdef const instrument_t* found = find_instrument(self.state, instrument)
        cdef reach_t reach
        cdef uint32_t watch
        if found == NULL:
            raise KeyError(instrument)
        ranges = []
        for watch in range(WATCHED_PRICES):
            reach = trigger_reach(found, watch)
            ranges.append((reach.low, reach.high))
        return ranges

    cdef bytes show(self, uint32_t number):
        cdef event_t event
        cdef const order_record_t* order = &self.state.orders.records[number]
        event.event_seq = event.command_seq = event.kind = 0
        event.ts_ns = order.changed_ns
        show_order(&event, order)
        return PyBytes_FromStringAndSize(<char*>&event, sizeof(event))

    def order(self, uint64_t order_id) -> bytes | None:
        """The order as it stands: one event record of kind 0, ts_ns its last change."""
        self.guard()
        cdef uint32_t number = orders_find(&self.state.orders, order_id)
        return None if number == NO_ROW else self.show(number)

    def order_by_client_id(self, uint32_t account, bytes client_order_id not None) -> bytes | None:
        """As `order`. The id with or without its zero padding."""
        self.guard()
        cdef char padded[36]
        if len(client_order_id) > CLIENT_ORDER_ID_SIZE:
            return None
        memset(padded, 0, sizeof(padded))
        memcpy(padded, <const char*>client_order_id, len(client_order_id))
        cdef uint32_t number = orders_find_client(&self.state.orders, account, padded,
                                                   client_order_id_hash(account, padded))
        return None if number == NO_ROW else self.show(number)

    def open_orders(self, uint32_t account=0, uint32_t instrument=0) -> bytes:
        """Records as of `order`, by order_id. 0 means any account, any instrument."""
        self.guard()
        cdef uint32_t first = account if account else 1
        cdef uint32_t last = account if account else self.state.bounds.max_accounts
        cdef uint32_t owner, number
        cdef list numbers = []
        if last > self.state.bounds.max_accounts:
            return b""
        for owner in range(first, last + 1):
            number = self.state.orders.open_chains[owner].first
            while number != NO_ROW:
                if instrument == 0 or self.state.orders.records[number].instrument == instrument:
                    numbers.append(number)
                number = self.state.orders.records[number].next_open
        return b"".join([self.show(number) for number in sorted(numbers)])

    def balances(self, uint32_t account) -> list:
        """(asset, total, reserved) of every asset the account ever touched, by asset. Any account number may be asked."""
        self.guard()
        cdef list rows = []
        cdef const balance_t* balance
        cdef uint32_t row
        if account > self.state.bounds.max_accounts and account != FEES:
            return rows
        row = ledger_first_rows(&self.state.ledger, account).balance
        while row != NO_ROW:
            balance = &self.state.ledger.balances[row]
            rows.append((balance.asset, balance.total, balance.reserved))
            row = balance.next_of_account
        rows.sort()
        return rows

    def positions(self, uint32_t account) -> list:
        """(instrument, lots, cost, realized_pnl) of every instrument the account ever traded, by instrument."""
        self.guard()
        cdef list rows = []
        cdef const position_t* position
        cdef uint32_t row
        if account > self.state.bounds.max_accounts and account != FEES:
            return rows
        row = ledger_first_rows(&self.state.ledger, account).position
        while row != NO_ROW:
            position = &self.state.ledger.positions[row]
            if position.qty != 0 or position.has_rest or position.cost != 0 or position.realized_pnl != 0:
                rows.append((position.instrument, position.qty, position.cost, position.realized_pnl))
            row = position.next_of_account
        rows.sort()
        return rows
