"""The transport of calls: connection, stubs, retries, errors, pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from tradewind._async.watch import DEFAULT_OUTAGE_S, AsyncWatch
from tradewind.connection import Connection, new_id
from tradewind.errors import from_rpc_error
from tradewind.v1 import accounts_pb2_grpc, market_data_pb2_grpc, orders_pb2_grpc, risk_pb2_grpc, system_pb2_grpc

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

MAX_PAGE = 1000


class AsyncCalls:
    """A connection and the shared logic of its calls."""

    def __init__(
        self,
        address: str | None = None,
        token: str | None = None,
        *,
        account: str | None = None,
        token_file: str | Path | None = None,
        tls: bool = False,
        ca_file: str | Path | None = None,
        tls_name: str | None = None,
        timeout_s: float = 10.0,
        max_outage_s: float = DEFAULT_OUTAGE_S,
    ) -> None:
        """`account` is used where a call names none. `max_outage_s`: how long a stream tries to reconnect.

        Address and token have defaults: see `tradewind.connection.Connection.resolve`.
        """
        self._connection = Connection.resolve(
            address, token, token_file=token_file, tls=tls, ca_file=ca_file, tls_name=tls_name
        )
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
        self._risk = risk_pb2_grpc.RiskServiceStub(self.channel)

    async def close(self) -> None:
        """Close the connection; open streams end."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call: the token and a fresh request id."""
        return self._connection.metadata(new_id())

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, keys: dict[str, str] | None = None
    ) -> A:
        """One call. An error carries the request id, and `keys`: what to repeat the call with."""
        request_id = new_id()
        try:
            return await method(request, timeout=self._timeout_s, metadata=self._connection.metadata(request_id))
        except grpc.RpcError as error:
            failure = self._connection.explained(from_rpc_error(error, request_id))
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
