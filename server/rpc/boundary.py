"""The one wrapper around every RPC handler.

In order: request id, token, scope, quota, size and decoding of the message, account, deadline, the handler itself, and
at the end the metrics and the mapping of errors. Handlers know nothing of gRPC: they take a decoded request and a
`Call`, return or yield messages (or the bytes of messages, where speed counts), and raise errors of server/base/errors.py.
An implementation may decode the requests of some methods itself (`decoders`, by method).

Requests are decoded here and not by grpc, so that undecodable bytes get an answer that says so, and nothing of an
unauthenticated request is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from server.access.policy import POLICIES, Policy
from server.access.quota import Metadata, Quota
from server.access.tokens import MAX_TOKENS, Token, TokenStore
from server.base import errors
from server.base.clock import Clock
from server.process.observability import REQUEST_ID
from server.process.settings import ServerSettings, is_loopback
from server.rpc.metrics import MethodMetrics, RpcMetrics
from server.rpc.status import code_of, to_status

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_BEARER = "bearer "
_ANONYMOUS = ""
_STREAMS_POLL_S = 0.01

log = structlog.get_logger("rpc")


@dataclass(slots=True)
class Call:
    """One call in progress, as a handler sees it."""

    request_id: str
    authorization: str
    """The header as it came."""
    token: Token | None = None
    """None only for what needs no token."""
    quota: Quota | None = None

    @property
    def caller(self) -> Token:
        """The token of the call. For handlers of methods that need one."""
        assert self.token is not None, "the policy of this method asks for no token"
        return self.token

    def metadata(self) -> Metadata:
        own = (("x-request-id", self.request_id),)
        return own + self.quota.metadata() if self.quota else own


@dataclass(frozen=True, slots=True)
class _Method:
    """One RPC with everything that is known before a call comes."""

    name: str
    policy: Policy
    request_name: str
    decode: Callable[[bytes], Any]
    """Raises DecodeError."""
    handler: Callable[[Any, Call], Any]
    metrics: MethodMetrics


class Boundary:
    """Makes grpc handlers of services. One for a server; belongs to its event loop."""

    def __init__(
        self,
        tokens: TokenStore,
        settings: ServerSettings,
        metrics: RpcMetrics,
        clock: Clock,
        new_request_id: Callable[[], str],
    ) -> None:
        self._tokens = tokens
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._new_request_id = new_request_id
        self._deadline_s = settings.unary_deadline_ms / 1000
        self._loopback = is_loopback(settings.host)
        self._loop = asyncio.get_running_loop()
        self._quotas: dict[str, Quota] = {}
        self._open_streams = 0
        self._closed: errors.TradewindError | None = None
        tokens.on_end(self._on_token_end)

    def service(self, service: ServiceDescriptor, implementation: object) -> grpc.GenericRpcHandler:
        """The handlers of a service. Every method of the contract must be in `implementation` and in the table of
        policies: a missing one is an error here, at the start."""
        handlers = {method.name: self._handler(service, method, implementation) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    async def close(self, error: errors.TradewindError, *, refuse_s: float, patience_s: float) -> None:
        """Answer all further calls (health aside) with `error`, and end the streams with it, after `patience_s` for
        those that end by themselves. Takes `refuse_s` at least: grpc cancels calls that come while it stops, so let
        those who keep calling be told before that."""
        self._closed = error
        refused_until_s = self._loop.time() + refuse_s
        for _ in range(int(patience_s / _STREAMS_POLL_S)):
            if not any(quota.streams for quota in self._quotas.values()):
                break
            await asyncio.sleep(_STREAMS_POLL_S)
        for quota in self._quotas.values():
            for stream in tuple(quota.streams):
                stream.end(error)
        await asyncio.sleep(max(0.0, refused_until_s - self._loop.time()))

    # -- making handlers -------------------------------------------------------------------------------

    def _handler(
        self, service: ServiceDescriptor, method: MethodDescriptor, implementation: object
    ) -> grpc.RpcMethodHandler[Any, Any]:
        name = f"/{service.full_name}/{method.name}"
        streaming = method.server_streaming
        kind = "unary" if not streaming else "bidi_stream" if method.client_streaming else "server_stream"
        own_decoder = getattr(implementation, "decoders", {}).get(method.name)
        known = _Method(
            name,
            POLICIES[name],
            method.input_type.full_name,
            own_decoder or GetMessageClass(method.input_type).FromString,
            getattr(implementation, method.name),
            self._metrics.of(service.full_name, method.name, kind),
        )
        if not streaming:

            async def unary(raw: bytes, context: Context) -> Message:
                return await self._unary(known, raw, context)

            return grpc.unary_unary_rpc_method_handler(unary, response_serializer=_serialized)

        async def stream(raw: Any, context: Context) -> None:
            await self._stream(known, raw, context)

        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=_serialized)
        return grpc.unary_stream_rpc_method_handler(stream, response_serializer=_serialized)

    # -- a call ----------------------------------------------------------------------------------------

    async def _unary(self, method: _Method, raw: bytes, context: Context) -> Message:
        started_s = perf_counter()
        method.metrics.started.inc()
        call = self._enter(context)
        code = grpc.StatusCode.OK
        try:
            self._admit(method.policy, call)
            request = self._decode(method, raw, call)
            async with asyncio.timeout(self._deadline_s) as deadline:
                answer: Awaitable[Message] = method.handler(request, call)
                response = await answer
            context.set_trailing_metadata(call.metadata())
            return response
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as raised:
            error = self._explain(raised, method, timed_out=isinstance(raised, TimeoutError) and deadline.expired())
            code = code_of(error)
            await self._abort(context, call, error)
            raise AssertionError("abort raises") from None
        finally:
            method.metrics.ended(code, perf_counter() - started_s)

    async def _stream(self, method: _Method, raw: bytes | AsyncIterable[bytes], context: Context) -> None:
        started_s = perf_counter()
        method.metrics.started.inc()
        call = self._enter(context)
        code = grpc.StatusCode.OK
        try:
            self._admit(method.policy, call)
            with self._open_stream(method, call) as open_stream:
                try:
                    await open_stream.write(context.send_initial_metadata(call.metadata()))
                    async with contextlib.aclosing(method.handler(self._request(method, raw, call), call)) as messages:
                        async for message in messages:
                            await open_stream.write(context.write(message))
                except asyncio.CancelledError:
                    if open_stream.error is None:
                        raise
                    _current_task().uncancel()
                    raise open_stream.error from None
            context.set_trailing_metadata(call.metadata())
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as raised:
            error = self._explain(raised, method)
            code = code_of(error)
            await self._abort(context, call, error)
        finally:
            method.metrics.ended(code, perf_counter() - started_s)

    def _enter(self, context: Context) -> Call:
        """Correlate the call: its own request id, else the trace it belongs to, else a new id."""
        authorization = request_id = ""
        headers: Any = context.invocation_metadata() or ()
        for key, value in headers:
            if key == "authorization":
                authorization = value
            elif key == "x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value
            elif key == "traceparent" and not request_id and (trace := _TRACE_PARENT.fullmatch(value)):
                request_id = trace[1]
        call = Call(request_id or self._new_request_id(), authorization)
        REQUEST_ID.set(call.request_id)
        return call

    def _admit(self, policy: Policy, call: Call) -> None:
        """Authenticate the token, check its scope, take from its quota."""
        if self._closed is not None and policy.scope is not None:
            raise type(self._closed)(self._closed.message)
        if policy.scope is not None and (call.authorization or not (policy.open_on_loopback and self._loopback)):
            call.token = self._tokens.find(_secret(call.authorization))
        call.quota = self._quota(call.token.token_id if call.token else _ANONYMOUS)
        call.quota.take()
        if policy.scope is not None and call.token is not None and not call.token.allows(policy.scope):
            raise errors.PermissionDenied(
                f"this call needs a token with scope {policy.scope.name.lower()}",
                metadata={"required_scope": policy.scope.name},
            )
        if policy.for_all_accounts and call.token is not None and call.token.accounts is not None:
            raise errors.PermissionDenied(
                "this call is about all accounts, and the token is bound to some: use a token for all accounts"
            )

    def _decode(self, method: _Method, raw: bytes, call: Call) -> Any:
        """The request message, about an account that the token may use."""
        if len(raw) > self._settings.max_message_bytes:
            raise errors.InvalidRequest.of(
                "(message)",
                f"has {len(raw)} bytes; at most {self._settings.max_message_bytes} are taken",
                reason="MESSAGE_TOO_LARGE",
            )
        try:
            request = method.decode(raw)
        except DecodeError:
            raise errors.InvalidRequest.of(
                "(message)", f"is not a valid {method.request_name}", reason="MALFORMED_MESSAGE"
            ) from None
        for account in method.policy.accounts(request) if method.policy.accounts is not None else ():
            if not call.caller.may_use(account):
                raise errors.PermissionDenied("the token may not use this account", metadata={"account": account})
        return request

    def _request(self, method: _Method, raw: bytes | AsyncIterable[bytes], call: Call) -> Any:
        if isinstance(raw, bytes):
            return self._decode(method, raw, call)

        async def requests() -> AsyncIterator[Any]:
            async for each in raw:
                yield self._decode(method, each, call)

        return requests()

    @contextlib.contextmanager
    def _open_stream(self, method: _Method, call: Call) -> Any:
        """Count the stream as long as it is open, and end it with its token."""
        assert call.quota is not None
        quota, gauge = call.quota, method.metrics.open_streams
        if self._open_streams >= self._settings.max_streams:
            raise errors.ResourceExhausted(f"{self._open_streams} streams are open, more than this server holds")
        stream = quota.open_stream()
        self._open_streams += 1
        expiry = None
        if call.token is not None and call.token.expire_ns is not None:
            expired = errors.Unauthenticated("the token expired")
            expiry = self._clock.call_at(call.token.expire_ns, lambda: stream.end(expired))
        gauge.inc()
        try:
            yield stream
        finally:
            gauge.dec()
            self._open_streams -= 1
            quota.streams.discard(stream)
            if expiry is not None:
                expiry.cancel()

    # -- errors ----------------------------------------------------------------------------------------

    def _explain(self, raised: Exception, method: _Method, *, timed_out: bool = False) -> errors.TradewindError:
        if isinstance(raised, errors.TradewindError):
            return raised
        if timed_out:
            return errors.DeadlineExceeded(
                f"took longer than the {self._settings.unary_deadline_ms} ms a call may take; it may have been carried"
                " out all the same: look before you repeat it, or repeat it with the same id"
            )
        log.error("handler failed", method=method.name, exc_info=raised)
        return errors.TradewindError("internal error; the server's log has the details under this request id")

    async def _abort(self, context: Context, call: Call, error: errors.TradewindError) -> None:
        status = to_status(error, call.request_id)
        metadata = (*call.metadata(), ("grpc-status-details-bin", status.SerializeToString()))
        await context.abort(code_of(error), status.message, metadata)

    # -- tokens ----------------------------------------------------------------------------------------

    def _quota(self, token_id: str) -> Quota:
        quota = self._quotas.get(token_id)
        if quota is None:
            if len(self._quotas) > 2 * MAX_TOKENS:
                self._quotas = {key: kept for key, kept in self._quotas.items() if kept.streams}
            quota = Quota(self._settings.requests_per_second, self._settings.max_token_streams, perf_counter)
            self._quotas[token_id] = quota
        return quota

    def _on_token_end(self, token_id: str) -> None:
        """On any thread."""
        self._loop.call_soon_threadsafe(self._token_ended, token_id)

    def _token_ended(self, token_id: str) -> None:
        quota = self._quotas.pop(token_id, None)
        for stream in tuple(quota.streams) if quota else ():
            stream.end(errors.Unauthenticated("the token was revoked"))


def _serialized(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _secret(authorization: str) -> str:
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise errors.Unauthenticated(
            "this call needs a token: send metadata `authorization: Bearer <token>`"
            if not authorization
            else "the authorization metadata is not of the form `Bearer <token>`"
        )
    return authorization[len(_BEARER) :].strip()


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
