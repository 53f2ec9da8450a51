"""Packed records are read and written where the compiled code has their fields, which the reference writes down again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fastpath.model import records
from fastpath.model.enums import CommandKind, EventKind, OrderStatus
from fastpath.model.order_sets import OPEN_STATUSES
from fastpath.model.structs import COMMAND, EVENT, EVENT_SIZE, INSTRUMENT
from server.base.instruments import Account, Asset, Instrument, InstrumentKind, Registry
from server.records import commands, definitions, events
from tests.reference import records as reference


def test_each_event_field_is_read_where_the_compiled_code_reads_it() -> None:
    # Every byte is different within a field and between neighbours; 0x7f and below keeps signed numbers positive.
    record = bytes((7 * i + i // 128) % 128 for i in range(EVENT_SIZE))
    expected = reference.Event(*reference.EVENT.unpack(record))
    event, balance, position = events.decode(record), events.decode_balance(record), events.decode_position(record)
    same_names = set(event._fields) & set(expected._fields)
    assert len(same_names) == 31
    assert [getattr(event, name) for name in same_names] == [getattr(expected, name) for name in same_names]
    assert (event.trigger_source, event.trailing_unit) == (expected.asset & 0xFF, expected.asset >> 8 & 0xFF)
    assert (event.trailing_offset, event.placed_ns) == (expected.reserved_amount, expected.delta)
    assert (event.cum_fee, event.cum_fee_high) == (expected.total, expected.position_cost)
    assert (event.cum_notional_high, event.fee_high) == (expected.position_qty, expected.realized_pnl)
    assert balance == events.BalanceEvent(
        expected.event_seq, expected.command_seq, expected.ts_ns, expected.flags, expected.account, expected.asset,
        expected.total, expected.reserved_amount, expected.delta, expected.position_qty, expected.position_cost,
        expected.realized_pnl,
    )  # fmt: skip
    assert position == events.PositionEvent(
        expected.event_seq, expected.ts_ns, expected.flags, expected.account, expected.instrument, expected.fee,
        expected.total, expected.reserved_amount, expected.delta, expected.position_qty, expected.position_cost,
        expected.realized_pnl,
    )  # fmt: skip
    assert (events.kind_of(record), events.order_count(record)) == (expected.kind, expected.qty)


def test_records_that_are_packed_are_those_of_the_reference() -> None:
    names = reference.Command._fields
    numbers = {name: at for at, name in enumerate(names, 1) if name != "client_order_id"} | {"client_order_id": b"c"}
    assert COMMAND.pack(**numbers) == reference.Command(**numbers).pack()
    every = COMMAND.unpack(reference.Command(**numbers).pack())
    assert {name: every[name] for name in names} == numbers


def test_text_that_does_not_fit_its_field_is_refused() -> None:
    assert COMMAND.unpack(COMMAND.pack(client_order_id=b"x" * 36))["client_order_id"] == b"x" * 36
    with pytest.raises(ValueError, match="does not fit into 36 bytes"):
        COMMAND.pack(client_order_id=b"x" * 37)
    with pytest.raises(KeyError):
        COMMAND.pack(no_such_field=0)
    with pytest.raises(ValueError, match="192 bytes"):
        COMMAND.unpack(bytes(191))


def test_fields_are_read_in_the_order_of_the_record() -> None:
    record = COMMAND.pack(kind=10, price=5, client_order_id=b"c")
    assert COMMAND.reader("kind", "price").unpack(record) == (10, 5)
    with pytest.raises(ValueError, match="in the order of the record"):
        COMMAND.reader("price", "kind")


def test_a_position_is_empty_only_if_no_word_of_its_amounts_is_set() -> None:
    assert events.decode_position(EVENT.pack(event_seq=3, ts_ns=4, scale=18, account=1, instrument=2)).is_empty
    for field in ("open_qty", "cost", "cost_high", "realized_pnl", "realized_pnl_high", "rest", "rest_high"):
        assert not events.decode_position(EVENT.pack(**{field: 1})).is_empty, field


def test_an_order_that_waits_for_its_venue_is_open() -> None:
    ended = {f"ORDER_STATUS_{name}" for name in ("UNSPECIFIED", "FILLED", "CANCELED", "REJECTED", "EXPIRED")}
    assert {each.name for each in OrderStatus if each not in OPEN_STATUSES} == ended


def test_place_and_cancel_fill_the_fields_they_mean() -> None:
    placed = COMMAND.unpack(
        commands.place(
            account=3,
            instrument=4,
            side=1,
            order_type=2,
            time_in_force=3,
            qty=2**62,
            price=-5,
            client_order_id="a-1",
            flags=1,
        )
    )
    expected = {"account": 3, "instrument": 4, "side": 1, "order_type": 2, "time_in_force": 3, "qty": 2**62}
    expected |= {"price": -5, "client_order_id": b"a-1", "flags": 1, "kind": CommandKind.COMMAND_PLACE}
    assert {name: value for name, value in placed.items() if value} == expected
    canceled = COMMAND.unpack(commands.cancel(account=3, order_id=2**63))
    assert (canceled["kind"], canceled["account"], canceled["order_id"]) == (CommandKind.COMMAND_CANCEL, 3, 2**63)
    adjustment = commands.adjust_balance(account=1, asset=2, amount=-(2**70) - 7, scale=18, request_id="r")
    adjusted = COMMAND.unpack(adjustment)
    assert (adjusted["asset"], adjusted["client_order_id"], adjusted["amount_scale"]) == (2, b"r", 18)
    assert adjusted["amount"] + (adjusted["amount_high"] << 64) == -(2**70) - 7


def test_mirror_snapshots_are_levels_between_a_beginning_and_an_end() -> None:
    snapshot = commands.mirror_snapshot(7, ((100, 5), (99, 6)), ((101, 7),))
    read = [COMMAND.unpack(snapshot[at : at + 192]) for at in range(0, len(snapshot), 192)]
    kinds = [each["kind"] for each in read]
    level = CommandKind.COMMAND_MIRROR_LEVEL
    assert kinds == [CommandKind.COMMAND_MIRROR_BEGIN, level, level, level, CommandKind.COMMAND_MIRROR_END]
    assert [(each["side"], each["price"], each["qty"]) for each in read[1:4]] == [(1, 100, 5), (1, 99, 6), (2, 101, 7)]
    assert {each["instrument"] for each in read} == {7}


def test_definitions_survive_the_journal() -> None:
    base, quote = Asset(1, "ÖBTC", 8, first_scale=8), Asset(2, "USDT", 12, first_scale=9)
    instrument = Instrument(
        number=9,
        name="venue:ÖBTC/USDT",
        base="ÖBTC",
        quote="USDT",
        kind=InstrumentKind.SPOT,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        min_qty=3,
        max_qty=10**12,
        min_notional=Decimal("5.5"),
        maker_fee_bps=Decimal("-0.25"),
        taker_fee_bps=Decimal("7.5"),
        tradable=True,
        money_scale=9,
    )
    perpetual = Instrument(
        number=10,
        name="venue:UNI/USD:UNI",
        base="ÖBTC",
        quote="USDT",
        kind=InstrumentKind.PERPETUAL,
        tick_size=Decimal("0.0001"),
        lot_size=Decimal(1),
        contract_size=Decimal("0.001"),
    )
    account = Account(5, "alice", 2, create_ns=77)
    registry = Registry()
    packed = definitions.asset_record(base) + definitions.asset_record(quote) + definitions.account_record(account)
    packed += definitions.instrument_record(instrument, base, quote, 1)
    packed += definitions.instrument_record(perpetual, base, quote, 2)
    found = records.definitions(commands.cancel(account=1) + packed + commands.cancel(account=1))
    assert b"".join(found) == packed
    for record in found:
        stamped = bytearray(record)
        records.stamp(stamped, 1, 77)
        definitions.register(bytes(stamped), registry)
    assert registry.instrument(instrument.name) == instrument
    assert registry.instrument_by_number(10) == perpetual
    assert registry.account("alice") == account
    assert list(registry.assets()) == [base, quote]
    compiled = INSTRUMENT.unpack(found[3])
    assert (compiled["base_per_lot"], compiled["quote_per_tick_lot"]) == (1, 100)
    assert (compiled["maker_fee_ppm"], compiled["taker_fee_ppm"], compiled["min_notional"]) == (-25, 750, 55 * 10**8)


def test_what_does_not_fit_a_definition_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        definitions.asset_record(Asset(1, "x" * 65))


def test_events_are_found_by_command_and_by_account() -> None:
    def event(seq: int, command_seq: int, account: int, kind: int) -> bytes:
        return EVENT.pack(event_seq=seq, command_seq=command_seq, account=account, kind=kind)

    accepted, balance = int(EventKind.EVENT_ORDER_ACCEPTED), int(EventKind.EVENT_BALANCE_CHANGED)
    batch = event(1, 10, 1, accepted) + event(2, 10, 1, balance) + event(3, 12, 2, accepted) + event(4, 12, 1, accepted)
    assert records.event_offsets(batch, [9, 10, 11, 12, 13, 14]) == [0, 0, 512, 512, 1024, 1024]
    assert records.event_offsets(b"", [10, 11]) == [0, 0]
    assert [each[0] for each in records.select(batch, 1, accepted, accepted)] == [1, 4]
    assert [each[0] for each in records.select(batch, 1, balance, accepted, after=1)] == [2, 4]
    with pytest.raises(ValueError, match="no whole number of events"):
        records.select(batch[:-1], 1, 0, 255)


def test_stamping_numbers_and_times_a_batch() -> None:
    batch = bytearray(commands.cancel(account=1) * 3)
    records.stamp(batch, 41, 99)
    read = [COMMAND.unpack(bytes(batch[at : at + 192])) for at in range(0, len(batch), 192)]
    assert [(each["seq"], each["ts_ns"], each["account"]) for each in read] == [(41, 99, 1), (42, 99, 1), (43, 99, 1)]
    with pytest.raises(ValueError, match="no whole number of commands"):
        records.stamp(bytearray(191), 1, 1)


def test_amend_and_the_like_fill_the_fields_they_mean() -> None:
    for record, kind, expected in (
        (
            commands.amend(account=1, instrument=2, order_id=3, qty=4, price=5, trigger_price=6),
            CommandKind.COMMAND_AMEND,
            {"account": 1, "instrument": 2, "order_id": 3, "qty": 4, "price": 5, "trigger_price": 6},
        ),
        (
            commands.cancel_orders(account=1, instrument=2, side=2),
            CommandKind.COMMAND_MASS_CANCEL,
            {"account": 1, "instrument": 2, "side": 2},
        ),
        (
            commands.session_closed(account=1, session=9),
            CommandKind.COMMAND_SESSION_CLOSED,
            {"account": 1, "session": 9},
        ),
        (
            commands.set_cancel_timer(account=1, expire_ns=2**62),
            CommandKind.COMMAND_SET_DEADMAN_TIMER,
            {"account": 1, "expire_ns": 2**62},
        ),
        (commands.timer(), CommandKind.COMMAND_TIMER, {}),
    ):
        read = COMMAND.unpack(record)
        assert {name: value for name, value in read.items() if value} == expected | {"kind": kind}


def test_every_field_of_a_placement_lands_where_it_belongs() -> None:
    numbers = {
        "order_type": 4, "time_in_force": 5, "qty": 6, "price": 7, "flags": 8, "trigger_price": 9, "trigger_source": 3,
        "trailing_offset": 10, "trailing_unit": 2, "display_qty": 11, "min_qty": 12, "expire_ns": 14, "stp_mode": 1,
        "stp_group": 15, "session": 16, "link_id": 2**63, "stp_owner": 2**64 - 1,
        "link_type": 3, "account": 17, "instrument": 18, "side": 2,
    }  # fmt: skip
    read = COMMAND.unpack(commands.place(client_order_id="c", quote_amount=13, **numbers))
    sent = numbers | {"amount": 13, "client_order_id": b"c", "kind": CommandKind.COMMAND_PLACE}
    assert {name: value for name, value in read.items() if value} == sent


def test_instruments_that_orders_enter_and_whether_any_waits_for_prices() -> None:
    def place(instrument: int, order_type: int) -> bytes:
        return commands.place(
            account=1, instrument=instrument, side=1, order_type=order_type, time_in_force=1, client_order_id="c"
        )

    batch = b"".join(
        [
            place(3, 1), place(3, 1), place(4, 4), place(4, 1), place(5, 1), place(5, 9), place(6, 10),
            commands.cancel(account=1, order_id=1), commands.amend(account=1, instrument=7),
            commands.set_trading_status(instrument=0, status=1),
        ]
    )  # fmt: skip
    assert records.entered_instruments(batch) == {3: False, 4: True, 5: True, 6: False, 7: True, 0: True}
    assert records.entered_instruments(b"") == {}


def test_the_first_event_of_each_command() -> None:
    made = b"".join(
        EVENT.pack(event_seq=n, command_seq=seq) for n, seq in enumerate((5, 5, 6, 8, 8, 8, 9), start=1)
    )
    assert [events.decode(record).event_seq for record in records.first_of_commands(made)] == [1, 3, 4, 7]
    assert records.first_of_commands(b"") == []
    with pytest.raises(ValueError, match="whole number"):
        records.first_of_commands(b"x")
