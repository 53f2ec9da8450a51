"""The client: one method a call of the API, plain values in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack

import grpc

from tradewind import convert
from tradewind._async.watch import DEFAULT_OUTAGE_S, AsyncOrdersWatch, AsyncWatch
from tradewind.connection import Connection, new_id
from tradewind.convert import Number, decimal_text
from tradewind.errors import from_rpc_error
from tradewind.models import (
    Account,
    AccountMode,
    Balance,
    Book,
    Fill,
    Instrument,
    NewToken,
    Order,
    OrderType,
    Position,
    Quote,
    Scope,
    ServerInfo,
    ServiceStatus,
    Side,
    TimeInForce,
    Token,
    Trade,
)
from tradewind.streams import AccountFeed, BookFeed, OrdersFeed, QuoteFeed, TradeFeed
from tradewind.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    orders_pb2,
    orders_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
)

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

MAX_PAGE = 1000


class OrderOptions(TypedDict, total=False):
    """What `buy` and `sell` pass on to `place_order`."""

    account: str | None
    time_in_force: TimeInForce | str | None
    post_only: bool
    client_order_id: str | None


class AsyncClient:
    """A connection to a Tradewind server.

    Every call is bounded by `timeout_s`. Reads, and mutations that carry a key, are retried while the server is
    unavailable (4 tries, 0.1 s to 2 s apart); PlaceOrder always carries one. Errors are those of `tradewind.errors`;
    bad arguments raise ValueError or TypeError before anything is sent.
    """

    def __init__(
        self,
        address: str | None = None,
        token: str | None = None,
        *,
        account: str | None = None,
        token_file: str | Path | None = None,
        tls: bool = False,
        ca_file: str | Path | None = None,
        timeout_s: float = 10.0,
        max_outage_s: float = DEFAULT_OUTAGE_S,
    ) -> None:
        """`account` is used where a call names none. `max_outage_s`: how long a stream tries to reconnect.

        Address and token have defaults: see `tradewind.connection.Connection.resolve`.
        """
        self._connection = Connection.resolve(address, token, token_file=token_file, tls=tls, ca_file=ca_file)
        self._account = account
        self._timeout_s = timeout_s
        self._max_outage_s = max_outage_s
        self.address = self._connection.address
        self.channel: grpc.aio.Channel = self._connection.open_async()
        """The gRPC channel, for stubs of one's own. Calls over it need `metadata()`."""
        self._system = system_pb2_grpc.SystemServiceStub(self.channel)
        self._market = market_data_pb2_grpc.MarketDataServiceStub(self.channel)
        self._orders = orders_pb2_grpc.OrderServiceStub(self.channel)
        self._accounts = accounts_pb2_grpc.AccountServiceStub(self.channel)

    async def close(self) -> None:
        """Close the connection; open streams end."""
        await self.channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call: the token and a fresh request id."""
        return self._connection.metadata(new_id())

    # --- the server -------------------------------------------------------------------------------------------------

    async def get_info(self) -> ServerInfo:
        """Version, start time, where market data comes from, hash of the trading state."""
        return convert.server_info(await self._call(self._system.GetInfo, system_pb2.GetInfoRequest()))

    async def list_services(self) -> list[ServiceStatus]:
        """Every part of the server and how it is."""
        response = await self._call(self._system.ListServices, system_pb2.ListServicesRequest())
        return [convert.service_status(wire) for wire in response.services]

    async def create_token(
        self,
        description: str,
        scopes: Iterable[Scope | str],
        *,
        accounts: Iterable[str] = (),
        expire_time: datetime | None = None,
    ) -> NewToken:
        """A token no wider than one's own. No accounts: all one has; no expire time: one's own."""
        request = system_pb2.CreateTokenRequest(
            description=description,
            scopes=[convert.SCOPE.number(scope) for scope in scopes],
            accounts=accounts,
            expire_time=None if expire_time is None else convert.timestamp(expire_time),
        )
        response = await self._call(self._system.CreateToken, request)
        return NewToken(convert.token(response.token), response.secret)

    async def list_tokens(self, limit: int = MAX_PAGE) -> list[Token]:
        """Tokens by creation time, without their secrets."""
        return await self._pages(
            self._system.ListTokens, system_pb2.ListTokensRequest(), "tokens", convert.token, limit
        )

    async def revoke_token(self, token_id: str) -> None:
        """End a token now; its streams end too."""
        await self._call(self._system.RevokeToken, system_pb2.RevokeTokenRequest(token_id=token_id))

    # --- market data ------------------------------------------------------------------------------------------------

    async def list_instruments(
        self, venue: str = "", *, tradable_only: bool = False, limit: int = 10_000
    ) -> list[Instrument]:
        """Instruments by name, of one venue or of all."""
        request = market_data_pb2.ListInstrumentsRequest(venue=venue, tradable_only=tradable_only)
        return await self._pages(self._market.ListInstruments, request, "instruments", convert.instrument, limit)

    async def get_instrument(self, instrument: str) -> Instrument:
        """One instrument. Raises NotFound."""
        request = market_data_pb2.GetInstrumentRequest(instrument=instrument)
        return convert.instrument((await self._call(self._market.GetInstrument, request)).instrument)

    async def get_quote(self, instrument: str) -> Quote:
        """Best bid and ask now. Raises StaleMarketData when there is no trustworthy one."""
        request = market_data_pb2.GetQuoteRequest(instrument=instrument)
        return convert.quote((await self._call(self._market.GetQuote, request)).quote)

    async def get_book(self, instrument: str, depth: int = 20) -> Book:
        """The book now, `depth` levels a side (1 to 1000). Look at its `state`: only LIVE is a price."""
        request = market_data_pb2.GetBookRequest(instrument=instrument, depth=depth)
        return convert.book((await self._call(self._market.GetBook, request)).book)

    async def list_trades(self, instrument: str, limit: int = 100) -> list[Trade]:
        """The most recent public trades, newest first; at most 1000."""
        request = market_data_pb2.ListTradesRequest(instrument=instrument, page_size=limit)
        return [convert.trade(wire) for wire in (await self._call(self._market.ListTrades, request)).trades]

    def watch_quotes(self, *instruments: str, interval_ms: int | None = None) -> AsyncWatch[Quote]:
        """Best bids and asks: now, then as they change or every `interval_ms`. A slow reader gets the newest."""
        return self._watch(self._market.SubscribeMarketData, QuoteFeed(instruments, interval_ms))

    def watch_trades(self, *instruments: str) -> AsyncWatch[Trade]:
        """Every public trade from now on, also over reconnects."""
        return self._watch(self._market.SubscribeMarketData, TradeFeed(instruments))

    def watch_book(self, *instruments: str, depth: int = 20, interval_ms: int | None = None) -> AsyncWatch[Book]:
        """Whole books of `depth` levels a side: now, then as they change. A slow reader gets the newest.

        Also when the feed of a venue is in trouble: look at `state`, only LIVE is a price.
        """
        return self._watch(self._market.SubscribeMarketData, BookFeed(instruments, depth, interval_ms))

    # --- orders -----------------------------------------------------------------------------------------------------

    async def place_order(
        self,
        instrument: str,
        side: Side | str,
        qty: Number,
        price: Number | None = None,
        *,
        account: str | None = None,
        time_in_force: TimeInForce | str | None = None,
        post_only: bool = False,
        client_order_id: str | None = None,
    ) -> Order:
        """Place an order: a limit order if it has a price, else a market order. It is durable when the answer comes.

        An order the server decides against is returned too, with status REJECTED and its reason. `client_order_id`
        makes the call repeatable for ever: the same again returns the original order (`replayed`), another order under
        the same id raises ClientOrderIdConflict. The SDK makes one if none is given; it is in `metadata` of every error
        raised, so after DeadlineExceeded repeat the call with it.
        """
        order_type = OrderType.MARKET if price is None else OrderType.LIMIT
        key = client_order_id or new_id()
        request = orders_pb2.PlaceOrderRequest(
            account=self._account_or_default(account),
            instrument=instrument,
            side=convert.SIDE.number(side),
            type=convert.ORDER_TYPE.number(order_type),
            time_in_force=convert.TIME_IN_FORCE.number(time_in_force) if time_in_force else None,
            qty=decimal_text("qty", qty),
            price=None if price is None else decimal_text("price", price),
            client_order_id=key,
            post_only=post_only,
        )
        response = await self._call(self._orders.PlaceOrder, request, {"client_order_id": key})
        return convert.order(response.order, replayed=response.replayed)

    async def buy(
        self, instrument: str, qty: Number, price: Number | None = None, **options: Unpack[OrderOptions]
    ) -> Order:
        """`place_order` with side BUY."""
        return await self.place_order(instrument, Side.BUY, qty, price, **options)

    async def sell(
        self, instrument: str, qty: Number, price: Number | None = None, **options: Unpack[OrderOptions]
    ) -> Order:
        """`place_order` with side SELL."""
        return await self.place_order(instrument, Side.SELL, qty, price, **options)

    async def cancel_order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, account: str | None = None
    ) -> Order:
        """Cancel an open order, named by either id. Raises NotFound, OrderNotOpen."""
        request = orders_pb2.CancelOrderRequest(order=self._order_ref(order_id, client_order_id, account))
        return convert.order((await self._call(self._orders.CancelOrder, request)).order)

    async def get_order(
        self, order_id: str | None = None, *, client_order_id: str | None = None, account: str | None = None
    ) -> Order:
        """One order as it stands, named by either id. Raises NotFound."""
        request = orders_pb2.GetOrderRequest(order=self._order_ref(order_id, client_order_id, account))
        return convert.order((await self._call(self._orders.GetOrder, request)).order)

    async def list_orders(
        self, *, instrument: str = "", open_only: bool = False, limit: int = 100, account: str | None = None
    ) -> list[Order]:
        """Orders of an account, newest first."""
        request = orders_pb2.ListOrdersRequest(
            account=self._account_or_default(account), instrument=instrument, open_only=open_only
        )
        return await self._pages(self._orders.ListOrders, request, "orders", convert.order, limit)

    async def list_fills(
        self, *, instrument: str = "", order_id: str = "", limit: int = 100, account: str | None = None
    ) -> list[Fill]:
        """Fills of an account, newest first; of one instrument or order if asked."""
        request = orders_pb2.ListFillsRequest(
            account=self._account_or_default(account), instrument=instrument, order_id=order_id
        )
        return await self._pages(self._orders.ListFills, request, "fills", convert.fill, limit)

    def watch_orders(self, account: str | None = None) -> AsyncOrdersWatch:
        """The open orders of an account, then every change of any order, each once, also over reconnects."""
        name = self._account_or_default(account)

        async def look_up(order: Order) -> Order:
            return await self.get_order(order.order_id, account=name)

        open_call = self._opener(self._orders.SubscribeOrders)
        return AsyncOrdersWatch(open_call, OrdersFeed(name), self._max_outage_s, look_up)

    # --- accounts ---------------------------------------------------------------------------------------------------

    async def create_account(self, name: str, mode: AccountMode | str = AccountMode.PAPER) -> Account:
        """Open an account. The same name and mode again returns it; another mode raises AlreadyExists."""
        request = accounts_pb2.CreateAccountRequest(name=name, mode=convert.ACCOUNT_MODE.number(mode))
        return convert.account((await self._call(self._accounts.CreateAccount, request)).account)

    async def list_accounts(self, limit: int = MAX_PAGE) -> list[Account]:
        """Accounts this token may see, by name."""
        request = accounts_pb2.ListAccountsRequest()
        return await self._pages(self._accounts.ListAccounts, request, "accounts", convert.account, limit)

    async def adjust_balance(
        self, asset: str, amount: Number, *, account: str | None = None, request_id: str | None = None
    ) -> Balance:
        """Move play money into an account, or out of it if negative. The balance now.

        `request_id` makes it repeatable: the same again moves nothing. The SDK makes one if none is given.
        """
        key = request_id or new_id()
        request = accounts_pb2.AdjustBalanceRequest(
            account=self._account_or_default(account),
            asset=asset,
            amount=decimal_text("amount", amount),
            request_id=key,
        )
        return convert.balance((await self._call(self._accounts.AdjustBalance, request, {"request_id": key})).balance)

    async def list_balances(self, account: str | None = None) -> list[Balance]:
        """Balances of an account, by asset."""
        request = accounts_pb2.ListBalancesRequest(account=self._account_or_default(account))
        return [convert.balance(wire) for wire in (await self._call(self._accounts.ListBalances, request)).balances]

    async def list_positions(self, account: str | None = None) -> list[Position]:
        """Positions of an account, by instrument."""
        request = accounts_pb2.ListPositionsRequest(account=self._account_or_default(account))
        return [convert.position(wire) for wire in (await self._call(self._accounts.ListPositions, request)).positions]

    def watch_account(self, account: str | None = None) -> AsyncWatch[Balance | Position]:
        """Balances and positions of an account: all of them, then each as it changes, also over reconnects."""
        return self._watch(self._accounts.SubscribeAccount, AccountFeed(self._account_or_default(account)))

    # --- how calls are made -----------------------------------------------------------------------------------------

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, keys: dict[str, str] | None = None
    ) -> A:
        """One call. An error carries the request id, and `keys`: what to repeat the call with."""
        request_id = new_id()
        try:
            return await method(request, timeout=self._timeout_s, metadata=self._connection.metadata(request_id))
        except grpc.RpcError as error:
            failure = from_rpc_error(error, request_id)
            failure.metadata.update(keys or {})
            raise failure from None

    async def _pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Any, Any],
        request: Any,
        field: str,
        value_of: Callable[[Any], T],
        limit: int,
    ) -> list[T]:
        """At most `limit` items of a paged list, over as many calls as it takes."""
        items: list[T] = []
        while len(items) < limit:
            request.page_size = min(limit - len(items), MAX_PAGE)
            response = await self._call(method, request)
            items += [value_of(wire) for wire in getattr(response, field)]
            if not response.next_page_token:
                break
            request.page_token = response.next_page_token
        return items

    def _opener(self, method: Any) -> Callable[[Any], Any]:
        return lambda request: method(request, metadata=self.metadata())

    def _watch(self, method: Any, feed: Any) -> AsyncWatch[Any]:
        return AsyncWatch(self._opener(method), feed, self._max_outage_s)

    def _account_or_default(self, account: str | None) -> str:
        name = account or self._account
        if not name:
            raise ValueError("which account? give account=, here or to the client")
        return name

    def _order_ref(self, order_id: str | None, client_order_id: str | None, account: str | None) -> orders_pb2.OrderRef:
        if (order_id is None) == (client_order_id is None):
            raise ValueError("name the order by order_id or by client_order_id, one of the two")
        name = self._account_or_default(account)
        return orders_pb2.OrderRef(account=name, order_id=order_id, client_order_id=client_order_id)


