"""The client: one method a call of the API, plain values in and out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tradewind import convert
from tradewind._async.calls import MAX_PAGE
from tradewind._async.orders import AsyncOrderCalls
from tradewind._async.risk import AsyncRiskCalls
from tradewind._async.watch import AsyncWatch
from tradewind.connection import new_id
from tradewind.convert import Number, decimal_text
from tradewind.models import (
    Account,
    AccountMode,
    Balance,
    Book,
    Candle,
    ClockAgreement,
    Instrument,
    LedgerEntry,
    NewToken,
    Position,
    Quote,
    Scope,
    ServerInfo,
    ServiceStatus,
    Token,
    Trade,
)
from tradewind.streams import AccountFeed, BookFeed, QuoteFeed, TradeFeed
from tradewind.v1 import accounts_pb2, market_data_pb2, system_pb2


class AsyncClient(AsyncOrderCalls, AsyncRiskCalls):
    """A connection to a Tradewind server.

    Every call is bounded by `timeout_s`. Reads, and mutations that carry a key, are retried while the server is
    unavailable (4 tries, 0.1 s to 2 s apart); placing an order always carries one. Errors are those of
    `tradewind.errors`; bad arguments raise ValueError or TypeError before anything is sent.
    """

    # --- the server -------------------------------------------------------------------------------------------------

    async def get_info(self) -> ServerInfo:
        """Version, start time, where market data comes from, hash of the trading state."""
        return convert.server_info(await self._call(self._system.GetInfo, system_pb2.GetInfoRequest()))

    async def list_services(self) -> list[ServiceStatus]:
        """State of every part of the server."""
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

    async def accept_clock(self) -> ClockAgreement:
        """Make the server's time follow the machine's clock after a step of it. Needs the scope ADMIN."""
        request = system_pb2.AcceptClockRequest()
        return convert.clock_agreement(await self._call(self._system.AcceptClock, request))

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

    async def define_instrument(
        self,
        symbol: str,
        tick_size: Number,
        lot_size: Number,
        *,
        min_qty: Number | None = None,
        max_qty: Number | None = None,
        min_notional: Number | None = None,
        maker_fee_bps: Number | None = None,
        taker_fee_bps: Number | None = None,
    ) -> Instrument:
        """Define a spot instrument with a book of the server's own, or define it anew; `DOGE/USDT` is `internal:DOGE/USDT`.

        The same again changes nothing. With another tick or lot its open orders are canceled, positions carried over.
        """
        limits = {"min_qty": min_qty, "max_qty": max_qty, "min_notional": min_notional}
        fees = {"maker_fee_bps": maker_fee_bps, "taker_fee_bps": taker_fee_bps}
        numbers = {"tick_size": tick_size, "lot_size": lot_size} | limits | fees
        given = {name: decimal_text(name, value) for name, value in numbers.items() if value is not None}
        request = market_data_pb2.DefineInstrumentRequest(symbol=symbol, **given)
        return convert.instrument((await self._call(self._market.DefineInstrument, request)).instrument)

    async def get_quote(self, instrument: str) -> Quote:
        """Best bid and ask now. Raises StaleMarketData when there is no trustworthy one."""
        request = market_data_pb2.GetQuoteRequest(instrument=instrument)
        return convert.quote((await self._call(self._market.GetQuote, request)).quote)

    async def get_book(self, instrument: str, depth: int = 20) -> Book:
        """The book now, `depth` levels a side (1 to 1000). Look at its `state`: only LIVE is a price."""
        request = market_data_pb2.GetBookRequest(instrument=instrument, depth=depth)
        return convert.book((await self._call(self._market.GetBook, request)).book)

    async def list_trades(
        self, instrument: str, limit: int = 100, *, start: datetime | None = None, end: datetime | None = None
    ) -> list[Trade]:
        """The most recent public trades, newest first, at most 1000; or with `start` recorded ones, oldest first."""
        if start is None:
            request = market_data_pb2.ListTradesRequest(instrument=instrument, page_size=limit)
            return [convert.trade(wire) for wire in (await self._call(self._market.ListTrades, request)).trades]
        request = market_data_pb2.ListTradesRequest(
            instrument=instrument,
            start_time=convert.timestamp(start),
            end_time=None if end is None else convert.timestamp(end),
        )
        return await self._pages(self._market.ListTrades, request, "trades", convert.trade, limit)

    async def list_candles(
        self,
        instrument: str,
        interval: timedelta,
        start: datetime,
        end: datetime | None = None,
        *,
        limit: int = 100_000,
    ) -> list[Candle]:
        """Candles that begin in `[start, end)`, by default up to now, oldest first. `interval` is whole seconds.

        There is none for an interval without trades; the last one lacks the trades of the last second or two.
        """
        request = market_data_pb2.ListCandlesRequest(
            instrument=instrument,
            interval=interval,
            start_time=convert.timestamp(start),
            end_time=None if end is None else convert.timestamp(end),
        )
        return await self._pages(self._market.ListCandles, request, "candles", convert.candle, limit)

    def watch_quotes(self, *instruments: str, interval_ms: int | None = None) -> AsyncWatch[Quote]:
        """Best bids and asks: now, then as they change or every `interval_ms`. A slow reader gets the newest."""
        return self._watch(self._market.SubscribeMarketData, QuoteFeed(instruments, interval_ms))

    def watch_trades(self, *instruments: str) -> AsyncWatch[Trade]:
        """Every public trade from now on, also over reconnects."""
        return self._watch(self._market.SubscribeMarketData, TradeFeed(instruments))

    def watch_book(self, *instruments: str, depth: int = 20, interval_ms: int | None = None) -> AsyncWatch[Book]:
        """Whole books of `depth` levels a side: now, then as they change. A slow reader gets the newest.

        Books are sent in every feed state: look at `state`, only LIVE is a price.
        """
        return self._watch(self._market.SubscribeMarketData, BookFeed(instruments, depth, interval_ms))

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

    async def list_ledger_entries(
        self,
        *,
        asset: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 100,
        account: str | None = None,
    ) -> list[LedgerEntry]:
        """Changes of an account's balances, newest first; of one asset or in `[start, end)` if asked."""
        request = accounts_pb2.ListLedgerEntriesRequest(
            account=self._account_or_default(account),
            asset=asset,
            start_time=None if start is None else convert.timestamp(start),
            end_time=None if end is None else convert.timestamp(end),
        )
        return await self._pages(self._accounts.ListLedgerEntries, request, "entries", convert.ledger_entry, limit)

    async def list_positions(self, account: str | None = None) -> list[Position]:
        """Positions of an account, by instrument."""
        request = accounts_pb2.ListPositionsRequest(account=self._account_or_default(account))
        return [convert.position(wire) for wire in (await self._call(self._accounts.ListPositions, request)).positions]

    def watch_account(self, account: str | None = None) -> AsyncWatch[Balance | Position]:
        """Balances and positions of an account: all of them, then each as it changes, also over reconnects."""
        return self._watch(self._accounts.SubscribeAccount, AccountFeed(self._account_or_default(account)))
