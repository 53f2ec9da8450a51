"""AccountService over the engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from server.base.clock import Clock
from server.base.streams import StreamItem
from server.blotter.history import History
from server.engine.order_entry import AccountEntry, AccountEvent, AccountSnapshot
from server.records.events import BalanceView, PositionView
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields, found
from server.rpc.streams import engine_event, engine_position, messages
from tradewind.v1 import accounts_pb2 as pb


class AccountService:
    def __init__(self, accounts: AccountEntry, history: History, clock: Clock) -> None:
        self._accounts = accounts
        self._history = history
        self._clock = clock

    async def CreateAccount(self, request: pb.CreateAccountRequest, call: Call) -> pb.CreateAccountResponse:
        fields = Fields()
        name = fields.name("name", request.name)
        mode = fields.choice("mode", request.mode, pb.AccountMode)
        if mode == pb.ACCOUNT_MODE_LIVE:
            fields.wrong("mode", "must be PAPER or SIMULATION: orders are not sent to exchanges yet", "NOT_ALLOWED")
        fields.check()
        account = await self._accounts.create_account(name, mode)
        return pb.CreateAccountResponse(account=convert.account(account))

    async def ListAccounts(self, request: pb.ListAccountsRequest, call: Call) -> pb.ListAccountsResponse:
        fields = Fields()
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        fields.check()
        page = self._accounts.list_accounts(page_size=page_size, page_token=page_token, visible=call.caller.may_use)
        return pb.ListAccountsResponse(accounts=map(convert.account, page.items), next_page_token=page.next_page_token)

    async def AdjustBalance(self, request: pb.AdjustBalanceRequest, call: Call) -> pb.AdjustBalanceResponse:
        fields = Fields()
        registry = self._accounts.registry
        account = fields.name("account", request.account)
        asset = fields.asset("asset", request.asset, registry)
        amount = fields.amount("amount", request.amount, asset)
        request_id = fields.name("request_id", request.request_id)
        fields.check()
        registry.account(account)
        known = found("asset", request.asset, asset)
        balance, replayed = await self._accounts.adjust_balance(account, known.name, amount, request_id)
        return pb.AdjustBalanceResponse(balance=convert.balance(balance), replayed=replayed)

    async def ListBalances(self, request: pb.ListBalancesRequest, call: Call) -> pb.ListBalancesResponse:
        balances = self._accounts.list_balances(_account(request.account))
        return pb.ListBalancesResponse(balances=map(convert.balance, balances))

    async def ListPositions(self, request: pb.ListPositionsRequest, call: Call) -> pb.ListPositionsResponse:
        positions = self._accounts.list_positions(_account(request.account))
        return pb.ListPositionsResponse(positions=map(convert.position, positions))

    async def ListLedgerEntries(self, request: pb.ListLedgerEntriesRequest, call: Call) -> pb.ListLedgerEntriesResponse:
        fields = Fields()
        registry = self._accounts.registry
        account = fields.name("account", request.account)
        asset = fields.asset("asset", request.asset, registry) if request.asset else None
        start_ns = fields.optional_time_ns(request, "start_time")
        end_ns = fields.optional_time_ns(request, "end_time")
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        fields.check()
        if request.asset:
            found("asset", request.asset, asset)
        page = await self._history.list_ledger(
            account, asset=request.asset, start_ns=start_ns, end_ns=end_ns, page_size=page_size, page_token=page_token
        )
        entries = map(convert.ledger_entry, page.items)
        return pb.ListLedgerEntriesResponse(entries=entries, next_page_token=page.next_page_token)

    async def SubscribeAccount(self, request: pb.SubscribeAccountRequest, call: Call) -> AsyncIterator[bytes]:
        fields = Fields()
        account = fields.name("account", request.account)
        resume_from = engine_position(fields, request)
        fields.check()
        with contextlib.closing(self._accounts.subscribe_account(account, resume_from)) as stream:
            async for message in messages(stream, self._event):
                yield message

    def _event(self, item: StreamItem[AccountEvent]) -> bytes:
        event = engine_event(pb.AccountEvent, item, self._clock.now_ns())
        match item.event:
            case AccountSnapshot(balances, positions, is_last):
                event.snapshot.balances.extend(map(convert.balance, balances))
                event.snapshot.positions.extend(map(convert.position, positions))
                event.snapshot.is_last = is_last
                event.snapshot.SetInParent()
            case BalanceView():
                event.update.balance.CopyFrom(convert.balance(item.event))
            case PositionView():
                event.update.position.CopyFrom(convert.position(item.event))
        return event.SerializeToString()


def _account(name: str) -> str:
    fields = Fields()
    fields.name("account", name)
    fields.check()
    return name
