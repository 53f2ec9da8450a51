"""Runs the scenarios of tests/scenarios: order semantics as a trader would write them down. The README there has the
language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastpath.exchange.exchange import Exchange
from fastpath.model.enums import (
    CancelReason,
    CommandKind,
    EventKind,
    OrderFlag,
    OrderType,
    PaperModel,
    RejectReason,
    TimeInForce,
)
from tests.reference.records import AccountDef, AnyCommand, AssetDef, Command, Event, InstrumentDef, decode_events

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
SECOND = 10**9
START_NS = 1_700_006_400 * SECOND  # a UTC midnight
MONEY = 1_000_000
TRADERS = {"ann": 1, "bob": 2, "cid": 3}
SIDES = {"buy": 1, "sell": 2}
STATUSES = {"open": 1, "halted": 2, "cancel-only": 3, "reduce-only": 4}
STP = {"newest": 2, "oldest": 3, "both": 4, "decrement": 5}
LINKS = {"oco": 1, "oto": 2, "bracket": 3}
SOURCES = {"last": 1, "touch": 2, "mid": 3, "mark": 4, "index": 5}
VERBS = {
    EventKind.EVENT_ORDER_ACCEPTED: "accepted", EventKind.EVENT_ORDER_REJECTED: "rejected",
    EventKind.EVENT_ORDER_FILLED: "filled", EventKind.EVENT_ORDER_CANCELED: "canceled",
    EventKind.EVENT_ORDER_EXPIRED: "expired", EventKind.EVENT_ORDER_AMENDED: "amended",
    EventKind.EVENT_ORDER_TRIGGERED: "triggered", EventKind.EVENT_ORDER_REPLAYED: "replayed",
    EventKind.EVENT_CANCEL_REJECTED: "cancel rejected", EventKind.EVENT_AMEND_REJECTED: "amend rejected",
}  # fmt: skip


def scenarios() -> Iterator[tuple[str, list[str]]]:
    for path in sorted(SCENARIOS.glob("*.txt")):
        title, lines = "", []
        for line in [*path.read_text().splitlines(), "scenario:"]:
            line = line.split("#")[0].rstrip()
            if line.startswith("scenario:"):
                if title:
                    yield f"{path.stem}: {title}", lines
                title, lines = line.removeprefix("scenario:").strip(), []
            elif line:
                lines.append(line)


class Stage:
    """One instrument, three traders with a million of both assets each, and a clock at a UTC midnight."""

    def __init__(self) -> None:
        self.exchange = Exchange(
            max_orders=10_000, max_open_orders=1_000, max_instruments=4, max_accounts=4, max_assets=4
        )
        self.seq = 0
        self.now_ns = START_NS
        self.events: list[Event] = []
        self.rules = InstrumentDef(instrument=1, base_asset=1, quote_asset=2, name=b"TEST")
        self.apply(AssetDef(asset=1, name=b"BASE"), AssetDef(asset=2, name=b"QUOTE"), self.rules)
        for account in TRADERS.values():
            self.apply(AccountDef(account=account))
            for asset in (1, 2):
                self.apply(
                    Command(kind=int(CommandKind.COMMAND_ADJUST_BALANCE), account=account, asset=asset, amount=MONEY)
                )

    def apply(self, *commands: AnyCommand) -> None:
        self.events = []
        for command in commands:
            self.seq += 1
            record = command._replace(seq=self.seq, ts_ns=self.now_ns).pack()
            self.events += decode_events(self.exchange.apply(record))
        self.exchange.validate()

    def define(self, **changes: int) -> None:
        """Another instrument takes the stage: rules of identity cannot change."""
        self.rules = self.rules._replace(instrument=self.rules.instrument + 1, **changes)
        self.apply(self.rules)

    # -- what can be said --

    def say(self, line: str) -> None:
        words = line.split()
        subject, rest = words[0].rstrip(":"), words[1:]
        if subject in TRADERS:
            self.trader(TRADERS[subject], rest)
        elif subject == "fees":
            maker, taker = (round(float(word.rstrip("%")) * 10_000) for word in (rest[1], rest[3]))
            self.define(maker_fee_ppm=maker, taker_fee_ppm=taker)
        elif subject == "least":
            self.define(min_qty=int(rest[1]))
        elif subject == "venue" and rest[0] == "opens":
            self.open_venue(rest[1:])
        elif subject == "venue":
            self.venue(rest)
        elif subject == "time":
            self.now_ns = START_NS + int(rest[0]) * SECOND
            self.apply(Command(kind=int(CommandKind.COMMAND_TIMER)), Command(kind=int(CommandKind.COMMAND_ARRIVALS)))
        elif subject == "reference":
            told = dict(zip(rest[0::2], map(int, rest[1::2]), strict=True))
            self.apply(
                Command(
                    kind=int(CommandKind.COMMAND_SET_REFERENCE_PRICES),
                    instrument=self.rules.instrument,
                    price=told.get("mark", 0),
                    trigger_price=told.get("index", 0),
                    expire_ns=START_NS + told["until"] * SECOND,
                )
            )
        elif subject == "session":
            self.apply(Command(kind=int(CommandKind.COMMAND_SESSION_CLOSED), session=int(rest[0])))
        elif subject == "trading":
            self.apply(
                Command(
                    kind=int(CommandKind.COMMAND_SET_TRADING_STATUS),
                    instrument=self.rules.instrument,
                    flags=STATUSES[rest[0]],
                )
            )
        else:
            self.look(subject, rest)

    def trader(self, account: int, words: list[str]) -> None:
        if words[0] in SIDES:
            self.apply(self.order(account, words))
        elif words[0] == "cancels" and words[1] == "all":
            side = SIDES[words[2]] if len(words) > 2 else 0
            self.apply(Command(kind=int(CommandKind.COMMAND_MASS_CANCEL), account=account, side=side))
        elif words[0] == "cancels":
            self.apply(
                Command(kind=int(CommandKind.COMMAND_CANCEL), account=account, client_order_id=words[1].encode())
            )
        elif words[0] == "amends":
            fields = dict(zip(words[2::2], map(int, words[3::2]), strict=True))
            self.apply(
                Command(
                    kind=int(CommandKind.COMMAND_AMEND),
                    account=account,
                    client_order_id=words[1].encode(),
                    price=fields.get("@", 0),
                    qty=fields.get("qty", 0),
                    trigger_price=fields.get("trigger", 0),
                )
            )
        elif words[0] == "dead-man":
            self.apply(
                Command(
                    kind=int(CommandKind.COMMAND_SET_DEADMAN_TIMER),
                    account=account,
                    expire_ns=START_NS + int(words[1]) * SECOND,
                )
            )
        elif words[0] == "has":
            asset = {"base": 1, "quote": 2}[words[2]]
            total, reserved = {a: (t, r) for a, t, r in self.exchange.balances(account)}[asset]
            assert (total, reserved) == (int(words[1]), int(words[4]) if len(words) > 3 else 0)
        elif words[0] == "position":
            positions = {row[0]: row[1:] for row in self.exchange.positions(account)}
            assert positions[self.rules.instrument] == (int(words[1]), int(words[3]), int(words[5]))
        else:
            raise AssertionError(f"a trader cannot {words[0]}")

    def order(self, account: int, words: list[str]) -> Command:
        """buy|sell QTY [words...] as ID"""
        kind, tif, flags = OrderType.ORDER_TYPE_LIMIT, TimeInForce.TIME_IN_FORCE_GTC, 0
        fields: dict[str, int] = {"side": SIDES[words[0]]}
        rest = words[1:]
        if rest[0].isdigit():
            fields["qty"] = int(rest.pop(0))
        conditional = ""
        while rest[0] != "as":
            word = rest.pop(0)
            if word == "@":
                fields["price"] = int(rest.pop(0))
            elif word in ("market", "to-limit"):
                kind = OrderType.ORDER_TYPE_MARKET if word == "market" else OrderType.ORDER_TYPE_MARKET_TO_LIMIT
            elif word in ("protected",):
                flags |= OrderFlag.ORDER_FLAG_PROTECTED
            elif word == "worth":
                flags, fields["amount"] = flags | OrderFlag.ORDER_FLAG_QUOTE_QTY, int(rest.pop(0))
            elif word in ("ioc", "fok", "day"):
                tif = TimeInForce[f"TIME_IN_FORCE_{word.upper()}"]
            elif word == "until":
                tif, fields["expire_ns"] = TimeInForce.TIME_IN_FORCE_GTD, START_NS + int(rest.pop(0)) * SECOND
            elif word in ("post-only", "slide", "reduce-only", "close-position", "cancel-on-disconnect"):
                name = {"slide": "POST_ONLY_SLIDE"}.get(word, word.upper().replace("-", "_"))
                flags |= OrderFlag[f"ORDER_FLAG_{name}"]
            elif word == "hidden":
                kind = OrderType.ORDER_TYPE_HIDDEN
            elif word == "iceberg":
                kind, fields["display_qty"] = OrderType.ORDER_TYPE_ICEBERG, int(rest.pop(0))
            elif word in ("stop", "take-profit", "trailing"):
                conditional = {"stop": "STOP", "take-profit": "TAKE_PROFIT", "trailing": "TRAILING_STOP"}[word]
                fields["trailing_offset" if word == "trailing" else "trigger_price"] = int(rest.pop(0))
                if word == "trailing":
                    fields["trailing_unit"] = 1
            elif word == "bps":
                fields["trailing_unit"] = 2
            elif word == "from":
                fields["trigger_price"] = int(rest.pop(0))
            elif word == "on":
                fields["trigger_source"] = SOURCES[rest.pop(0)]
            elif word == "min":
                fields["min_qty"] = int(rest.pop(0))
            elif word == "stp":
                fields["stp_mode"] = STP[rest.pop(0)]
            elif word in LINKS:
                fields["link_type"], fields["link_id"] = LINKS[word], int(rest.pop(0))
            elif word == "of":
                fields["link_size"] = int(rest.pop(0))
            elif word in ("group", "owner", "session"):
                fields["session" if word == "session" else f"stp_{word}"] = int(rest.pop(0))
            else:
                raise AssertionError(f"an order knows no {word!r}")
        if conditional:
            kind = OrderType[f"ORDER_TYPE_{conditional}{'_LIMIT' if 'price' in fields else ''}"]
        return Command(
            kind=int(CommandKind.COMMAND_PLACE),
            account=account,
            instrument=self.rules.instrument,
            order_type=int(kind),
            time_in_force=int(tif),
            flags=int(flags),
            client_order_id=rest[1].encode(),
            **fields,
        )

    def open_venue(self, words: list[str]) -> None:
        changes = {"mirrored": 1}
        while words:
            word = words.pop(0)
            if word == "latency":
                changes["latency_in_ns"] = int(words.pop(0)) * SECOND
            else:
                changes["paper_model"] = PaperModel[f"PAPER_MODEL_{word.upper()}"]
        self.define(**changes)

    def venue(self, words: list[str]) -> None:
        number = self.rules.instrument
        if words[0] == "prints":
            self.apply(
                Command(
                    kind=int(CommandKind.COMMAND_MIRROR_TRADE),
                    instrument=number,
                    side=SIDES[words[1]],
                    qty=int(words[2]),
                    price=int(words[4]),
                )
            )
            return
        if words[0] == "cancels":
            fields = {"side": SIDES[words[1]], "qty": int(words[2]), "display_qty": int(words[4]), "price": int(words[6])}
            self.apply(Command(kind=int(CommandKind.COMMAND_MIRROR_CANCELED), instrument=number, **fields))
            return
        if words[0] == "stale":
            self.apply(Command(kind=int(CommandKind.COMMAND_MIRROR_BEGIN), instrument=number))
            return
        commands, side = [Command(kind=int(CommandKind.COMMAND_MIRROR_BEGIN), instrument=number, flags=1)], 0
        for word in words:
            if word in ("bids", "asks"):
                side = 1 if word == "bids" else 2
            else:
                price, qty = map(int, word.split("x"))
                commands.append(
                    Command(
                        kind=int(CommandKind.COMMAND_MIRROR_LEVEL), instrument=number, side=side, price=price, qty=qty
                    )
                )
        self.apply(*commands, Command(kind=int(CommandKind.COMMAND_MIRROR_END), instrument=number))

    def look(self, subject: str, words: list[str]) -> None:
        assert subject in ("bids", "asks"), f"nobody is called {subject}"
        levels = self.exchange.depth(self.rules.instrument, 100)[subject == "asks"]
        assert [f"{price}x{qty}" for price, qty, _ in levels] == ([] if words == ["none"] else words)

    # -- what happened --

    def told(self) -> list[str]:
        """The order events of the last line, in words."""
        return [self.tell(event) for event in self.events if event.kind in VERBS]

    @staticmethod
    def tell(event: Event) -> str:
        words = f"{event.client_order_id.rstrip(bytes(1)).decode()} {VERBS[EventKind(event.kind)]}"
        if event.kind == EventKind.EVENT_ORDER_FILLED:
            words += f" {event.last_qty} @ {event.last_price}"
            words += f" leaves {event.leaves_qty}" if event.leaves_qty else ""
            words += f" fee {event.fee}" if event.fee else ""
        if event.kind == EventKind.EVENT_ORDER_AMENDED:
            words += f" {event.qty} @ {event.price}"
            words += ", change pending" if event.flags & OrderFlag.ORDER_FLAG_CHANGE_PENDING else ""
        if event.cancel_reason and event.kind == EventKind.EVENT_ORDER_CANCELED:
            words += " " + CancelReason(event.cancel_reason).name.removeprefix("CANCEL_REASON_")
        if event.reject_reason:
            words += " " + RejectReason(event.reject_reason).name.removeprefix("REJECT_REASON_")
        return words


@pytest.mark.parametrize("lines", [pytest.param(lines, id=title) for title, lines in scenarios()])
def test_scenario(lines: list[str]) -> None:
    stage = Stage()
    said, expected = "", []
    for line in [*lines, "end"]:
        told = re.match(r"\s+=> (.*)", line)
        if told:
            expected.append(told.group(1))
            continue
        if said:
            assert stage.told() == expected, f"after: {said}"
        said, expected = line, []
        if line != "end":
            stage.events = []
            stage.say(line)
