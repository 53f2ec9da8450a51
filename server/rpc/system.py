"""SystemService: server info, status of the parts, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from server.access.tokens import Scope, Token, TokenStore
from server.base.clock import SystemClock
from server.engine.order_entry import EnginePosition
from server.process.lifecycle import StatusBoard
from server.rpc import convert
from server.rpc.boundary import Call
from server.rpc.fields import Fields, page_of
from tradewind.v1 import system_pb2 as pb

log = structlog.get_logger("system")

_MAX_DESCRIPTION_CHARS = 100
_MAX_TOKEN_ACCOUNTS = 1000


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What does not change while the server runs."""

    version: str
    start_ns: int
    market_data: str
    """`replay`, `live` or `off`."""


class SystemService:
    def __init__(
        self,
        info: ServerInfo,
        engine: EnginePosition,
        newest_snapshot: Callable[[], tuple[int, int]],
        board: StatusBoard,
        tokens: TokenStore,
        clock: SystemClock,
    ) -> None:
        """`newest_snapshot` gives the sequence of its last command (0: there is none) and its state_hash."""
        self._info = info
        self._engine = engine
        self._newest_snapshot = newest_snapshot
        self._board = board
        self._tokens = tokens
        self._clock = clock

    async def GetInfo(self, request: pb.GetInfoRequest, call: Call) -> pb.GetInfoResponse:
        sequence, state_hash = self._newest_snapshot()
        return pb.GetInfoResponse(
            version=self._info.version,
            start_time=convert.timestamp(self._info.start_ns),
            epoch=self._engine.epoch,
            market_data=self._info.market_data,
            command_sequence=self._engine.command_sequence,
            state_hash=f"{state_hash:016x}" if sequence else "",
            state_hash_sequence=sequence,
            server_time=convert.timestamp(self._clock.now_ns()),
        )

    async def ListServices(self, request: pb.ListServicesRequest, call: Call) -> pb.ListServicesResponse:
        return pb.ListServicesResponse(services=map(convert.service_status, self._board.all()))

    async def AcceptClock(self, request: pb.AcceptClockRequest, call: Call) -> pb.AcceptClockResponse:
        agreed = self._clock.accept()
        log.warning("the machine's clock was accepted", ahead_s=agreed.difference_ns / 1e9, token=call.caller.token_id)
        response = pb.AcceptClockResponse(
            server_time=convert.timestamp(agreed.now_ns), agree_time=convert.timestamp(agreed.now_ns + agreed.left_ns)
        )
        response.difference.FromNanoseconds(agreed.difference_ns)
        return response

    async def CreateToken(self, request: pb.CreateTokenRequest, call: Call) -> pb.CreateTokenResponse:
        fields = Fields()
        description = fields.text("description", request.description, _MAX_DESCRIPTION_CHARS)
        if not request.scopes:
            fields.wrong("scopes", "at least one is required", "REQUIRED")
        if len(request.scopes) > len(Scope):
            fields.wrong("scopes", f"there are only {len(Scope)}", "OUT_OF_RANGE")
        else:
            for index, scope in enumerate(request.scopes):
                fields.choice(f"scopes[{index}]", scope, pb.Scope)
        if len(request.accounts) > _MAX_TOKEN_ACCOUNTS:
            fields.wrong("accounts", f"at most {_MAX_TOKEN_ACCOUNTS}; leave it empty for all", "OUT_OF_RANGE")
        else:
            for index, account in enumerate(request.accounts):
                fields.name(f"accounts[{index}]", account)
        expire_ns = fields.time_ns("expire_time", request.expire_time) if request.HasField("expire_time") else None
        fields.check()
        for account in request.accounts:
            self._engine.registry.account(account)
        scopes = [Scope(scope) for scope in request.scopes]
        # The store writes a file and waits for the disk: not on the event loop.
        token, secret = await asyncio.to_thread(
            self._tokens.create, call.caller, description, scopes, request.accounts, expire_ns
        )
        return pb.CreateTokenResponse(token=convert.token(token), secret=secret)

    async def ListTokens(self, request: pb.ListTokensRequest, call: Call) -> pb.ListTokensResponse:
        fields = Fields()
        page_size = fields.page_size(request.page_size)
        page_token = fields.page_token(request.page_token)
        fields.check()
        page, next_page_token = page_of("tokens", self._tokens.tokens(call.caller), _token_key, page_size, page_token)
        return pb.ListTokensResponse(tokens=map(convert.token, page), next_page_token=next_page_token)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, call: Call) -> pb.RevokeTokenResponse:
        fields = Fields()
        token_id = fields.name("token_id", request.token_id)
        fields.check()
        await asyncio.to_thread(self._tokens.revoke, call.caller, token_id)
        return pb.RevokeTokenResponse()


def _token_key(token: Token) -> str:
    return f"{token.create_ns:020d} {token.token_id}"
