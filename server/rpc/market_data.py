"""MarketDataService over the market data hub."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError

from server.base.clock import Clock
from server.base.errors import InvalidRequest, MarketDataStale
from server.base.instruments import Instrument, Registry
from server.base.paging import decode_number_token, decode_token, encode_token
from server.base.streams import StreamPosition
from server.engine.own_instruments import OwnInstrument
from server.market import subscription as hub
from server.market.history import TickHistory
from server.market.hub import MarketData
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields, page_of
from server.rpc.market_encoder import MarketDataEncoder
from server.rpc.streams import check_position, messages
from tradewind.v1 import market_data_pb2 as pb

MAX_SUBSCRIPTIONS = 500
_DEFAULT_DEPTH = 20
_MAX_VENUE_CHARS = 32
_MAX_INTERVAL_S = 7 * 86_400
_MAX_SUBSCRIPTION_ID_CHARS = 100


class MarketDataService:
    def __init__(
        self,
        market_data: MarketData,
        registry: Registry,
        trading_status: Callable[[int], int],
        ticks: TickHistory,
        define: Callable[[Sequence[Instrument]], Awaitable[list[Instrument]]],
        clock: Clock,
    ) -> None:
        """`trading_status` says the TradingStatus of an instrument by its number, `define` defines instruments."""
        self._market_data = market_data
        self._registry = registry
        self._trading_status = trading_status
        self._ticks = ticks
        self._define = define
        self._clock = clock

    async def ListInstruments(self, request: pb.ListInstrumentsRequest, call: Call) -> pb.ListInstrumentsResponse:
        fields = Fields()
        venue = fields.text("venue", request.venue, _MAX_VENUE_CHARS, required=False)
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        fields.check()
        chosen = [
            instrument
            for instrument in self._registry.instruments()
            if (not venue or instrument.venue == venue) and (instrument.tradable or not request.tradable_only)
        ]
        chosen.sort(key=_name)
        page, next_page_token = page_of("instruments", chosen, _name, page_size, page_token)
        return pb.ListInstrumentsResponse(instruments=map(self._instrument, page), next_page_token=next_page_token)

    async def GetInstrument(self, request: pb.GetInstrumentRequest, call: Call) -> pb.GetInstrumentResponse:
        return pb.GetInstrumentResponse(instrument=self._instrument(self._named(Fields(), request.instrument)))

    async def DefineInstrument(self, request: pb.DefineInstrumentRequest, call: Call) -> pb.DefineInstrumentResponse:
        given = {field.name: value for field, value in request.ListFields()}
        (instrument,) = await self._define([_own_instrument(given)])
        return pb.DefineInstrumentResponse(instrument=self._instrument(instrument))

    async def GetQuote(self, request: pb.GetQuoteRequest, call: Call) -> pb.GetQuoteResponse:
        instrument = self._named(Fields(), request.instrument)
        quote = self._market_data.quote(instrument.name)
        if quote is None:
            state = self._market_data.state(instrument.name)
            absent = self._registry.absent.get(instrument.name)
            reason = f"its feed is {state.name}" + (f": {absent}" if absent else "")
            raise MarketDataStale(
                f"there is no trustworthy price of {instrument.name} now: {reason}",
                metadata={"instrument": instrument.name, "feed_state": state.name},
            )
        return pb.GetQuoteResponse(quote=convert.quote(quote, self._clock.now_ns()))

    async def GetBook(self, request: pb.GetBookRequest, call: Call) -> pb.GetBookResponse:
        fields = Fields()
        depth = fields.between("depth", request.depth, 0, hub.MAX_DEPTH) or _DEFAULT_DEPTH
        instrument = self._named(fields, request.instrument)
        book = self._market_data.book(instrument.name, depth)
        if book is None:
            return pb.GetBookResponse(book=pb.Book(instrument=instrument.name, state=pb.FEED_STATE_SYNCING))
        return pb.GetBookResponse(book=convert.book(book, self._clock.now_ns()))

    async def ListTrades(self, request: pb.ListTradesRequest, call: Call) -> pb.ListTradesResponse:
        fields = Fields()
        page_size = fields.page_size(request.page_size)
        now_ns = self._clock.now_ns()
        if request.HasField("start_time"):
            return await self._trades_of_interval(fields, request, page_size, now_ns)
        for field, given in (("end_time", request.HasField("end_time")), ("page_token", request.page_token)):
            if given:
                fields.wrong(field, "is for requests with start_time", "NOT_ALLOWED")
        instrument = self._named(fields, request.instrument)
        trades = self._market_data.trades(instrument.name, page_size)
        return pb.ListTradesResponse(trades=[convert.trade(trade, now_ns) for trade in trades])

    async def ListCandles(self, request: pb.ListCandlesRequest, call: Call) -> pb.ListCandlesResponse:
        fields = Fields()
        interval_ns = _interval_ns(fields, request.interval)
        if not request.HasField("start_time"):
            fields.wrong("start_time", "is required", "REQUIRED")
        start_ns = decode_number_token("candles", fields.page_token(request.page_token))
        if start_ns is None:
            start_ns = fields.time_ns("start_time", request.start_time)
        end_ns = fields.optional_time_ns(request, "end_time") or self._clock.now_ns()
        page_size = fields.page_size(request.page_size)
        instrument = self._named(fields, request.instrument)
        following = min(start_ns + page_size * interval_ns, end_ns)
        candles = await self._ticks.candles(self._registry.grids(instrument.name), interval_ns, start_ns, following)
        return pb.ListCandlesResponse(
            candles=[convert.candle(candle) for candle in candles],
            next_page_token=encode_token("candles", str(following)) if following < end_ns else "",
        )

    async def SubscribeMarketData(self, request: pb.SubscribeMarketDataRequest, call: Call) -> AsyncIterator[bytes]:
        with contextlib.closing(self._market_data.subscribe(self._subscriptions(request))) as stream:
            async for message in messages(stream, MarketDataEncoder(self._clock)):
                yield message

    # -- requests --------------------------------------------------------------------------------------

    def _named(self, fields: Fields, name: str) -> Instrument:
        fields.instrument("instrument", name, self._registry)
        fields.check()
        return self._registry.instrument(name)

    def _subscriptions(self, request: pb.SubscribeMarketDataRequest) -> list[hub.Subscription]:
        fields = Fields()
        wanted = request.subscriptions
        if not 1 <= len(wanted) <= MAX_SUBSCRIPTIONS:
            fields.wrong("subscriptions", f"must be 1 to {MAX_SUBSCRIPTIONS}, not {len(wanted)}", "OUT_OF_RANGE")
            fields.check()
        for index, each in enumerate(wanted):
            _check_subscription(fields, f"subscriptions[{index}]", each, self._registry)
        ids = [_subscription_id(each) for each in wanted]
        seen: set[str] = set()
        for index, subscription_id in enumerate(ids):
            if subscription_id in seen:
                fields.wrong(f"subscriptions[{index}].subscription_id", "is used twice", "DUPLICATE")
            seen.add(subscription_id)
        fields.check()
        return [
            _subscription(each, subscription_id, self._registry.instrument(each.instrument))
            for each, subscription_id in zip(wanted, ids, strict=True)
        ]

    async def _trades_of_interval(
        self, fields: Fields, request: pb.ListTradesRequest, page_size: int, now_ns: int
    ) -> pb.ListTradesResponse:
        start_ns = fields.time_ns("start_time", request.start_time)
        end_ns = fields.optional_time_ns(request, "end_time") or now_ns
        after = _row_position(decode_token("trades", fields.page_token(request.page_token)))
        instrument = self._named(fields, request.instrument)
        grids = self._registry.grids(instrument.name)
        trades, following = await self._ticks.trades(grids, start_ns, end_ns, after=after, limit=page_size)
        return pb.ListTradesResponse(
            trades=[convert.trade(trade, now_ns) for trade in trades],
            next_page_token=encode_token("trades", "{}-{}".format(*following)) if following else "",
        )

    # -- answers ---------------------------------------------------------------------------------------

    def _instrument(self, instrument: Instrument) -> pb.Instrument:
        return convert.instrument(instrument, self._trading_status(instrument.number))


def _own_instrument(given: dict[str, str]) -> Instrument:
    """Raises InvalidRequest."""
    fields = Fields()
    try:
        return OwnInstrument.model_validate(given).instrument()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False, include_context=False):
            missing = problem["type"] == "missing"
            text = "is required" if missing else problem["msg"].removeprefix("Value error, ")
            name = str(problem["loc"][0]) if problem["loc"] else "symbol"
            fields.wrong(name, text[:1].lower() + text[1:], "REQUIRED" if missing else "INVALID")
    fields.check()
    raise AssertionError("what is wrong was told")


def _interval_ns(fields: Fields, interval: Duration) -> int:
    if interval.nanos:
        fields.wrong("interval", "must be whole seconds", "OUT_OF_RANGE")
    return fields.between("interval", interval.seconds, 1, _MAX_INTERVAL_S) * 1_000_000_000


def _row_position(position: str | None) -> tuple[int, int] | None:
    """Of a page token's content. Raises InvalidRequest."""
    if position is None:
        return None
    time_ns, _, row_id = position.partition("-")
    if not (time_ns.isdecimal() and row_id.isdecimal() and len(position) <= 40):
        raise InvalidRequest.of("page_token", "is not the next_page_token of an earlier response to this request")
    return int(time_ns), int(row_id)


def _name(instrument: Instrument) -> str:
    return instrument.name


def _check_subscription(fields: Fields, path: str, wanted: pb.MarketDataSubscription, registry: Registry) -> None:
    fields.text(f"{path}.subscription_id", wanted.subscription_id, _MAX_SUBSCRIPTION_ID_CHARS, required=False)
    fields.instrument(f"{path}.instrument", wanted.instrument, registry)
    channel = fields.choice(f"{path}.channel", wanted.channel, pb.Channel)
    delivery = fields.choice(f"{path}.delivery", wanted.delivery, pb.Delivery, required=False)
    if channel == pb.CHANNEL_BOOK:
        fields.between(f"{path}.depth", wanted.depth, 0, hub.MAX_DEPTH)
    elif wanted.depth:
        fields.wrong(f"{path}.depth", "is for books only", "NOT_ALLOWED")
    if channel == pb.CHANNEL_TRADE and delivery not in (pb.DELIVERY_UNSPECIFIED, pb.DELIVERY_ALL):
        fields.wrong(f"{path}.delivery", "trades cannot be merged: use DELIVERY_ALL", "NOT_ALLOWED")
    if delivery == pb.DELIVERY_INTERVAL:
        fields.between(f"{path}.interval_ms", wanted.interval_ms, 10, 60_000)
    elif wanted.interval_ms:
        fields.wrong(f"{path}.interval_ms", "is for DELIVERY_INTERVAL only", "NOT_ALLOWED")
    if wanted.HasField("resume_from"):
        check_position(fields, f"{path}.resume_from", wanted.resume_from)


def _subscription_id(wanted: pb.MarketDataSubscription) -> str:
    if wanted.subscription_id or wanted.channel not in pb.Channel.values():
        return wanted.subscription_id
    channel = pb.Channel.Name(wanted.channel).removeprefix("CHANNEL_").lower()
    return f"{wanted.instrument}#{channel}"


def _subscription(wanted: pb.MarketDataSubscription, subscription_id: str, instrument: Instrument) -> hub.Subscription:
    channel = hub.Channel(wanted.channel)
    default = hub.Delivery.ALL if channel is hub.Channel.TRADE else hub.Delivery.LATEST
    resume = wanted.resume_from
    return hub.Subscription(
        subscription_id=subscription_id,
        instrument=instrument,
        channel=channel,
        delivery=hub.Delivery(wanted.delivery) if wanted.delivery else default,
        depth=wanted.depth or _DEFAULT_DEPTH,
        interval_ms=wanted.interval_ms,
        resume_from=StreamPosition(resume.epoch, resume.sequence) if wanted.HasField("resume_from") else None,
    )
