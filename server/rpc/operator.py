"""Standard operator services: reflection (v1 and v1alpha) and channelz."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from server.base.errors import InvalidRequest, NotFound
from server.rpc.boundary import Call

CHANNELZ: ServiceDescriptor = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]
REFLECTION_V1ALPHA: ServiceDescriptor = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]


def reflection_v1() -> ServiceDescriptor:
    """grpc.reflection.v1, which grpcio-reflection does not ship: the messages are those of v1alpha, renamed."""
    v1alpha = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    v1 = text_format.Parse(text_format.MessageToString(v1alpha).replace("v1alpha", "v1"), FileDescriptorProto())
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(v1.SerializeToString())
    return pool.FindServiceByName("grpc.reflection.v1.ServerReflection")


class _Symbols:
    """The descriptor pool, for reflection: it also finds members, so that `describe` works on a method or a field."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            owner, _, member = symbol.rpartition(".")
            file = self._pool.FindFileContainingSymbol(owner)
            if member in _members(self._pool, owner):
                return file
            raise


def _members(pool: descriptor_pool.DescriptorPool, owner: str) -> Iterable[str]:
    with contextlib.suppress(KeyError):
        return list(pool.FindServiceByName(owner).methods_by_name)
    with contextlib.suppress(KeyError):
        return list(pool.FindMessageTypeByName(owner).fields_by_name)
    with contextlib.suppress(KeyError):
        return list(pool.FindEnumTypeByName(owner).values_by_name)
    return ()


class Reflection:
    """Answers both versions of the protocol with grpc's own servicer, which knows v1alpha."""

    def __init__(self, services: Iterable[str]) -> None:
        self._v1alpha = reflection_aio.ReflectionServicer(services, pool=_Symbols())

    async def ServerReflectionInfo(self, requests: AsyncIterator[Message], call: Call) -> AsyncIterator[Message]:
        async def as_v1alpha() -> AsyncIterator[Message]:
            async for request in requests:
                yield reflection_pb2.ServerReflectionRequest.FromString(request.SerializeToString())

        async for response in self._v1alpha.ServerReflectionInfo(as_v1alpha(), call):
            if response.HasField("file_descriptor_response"):
                files = response.file_descriptor_response.file_descriptor_proto
                files[:] = [_with_json_names(file) for file in files]
            yield response


@functools.lru_cache(maxsize=256)
def _with_json_names(serialized: bytes) -> bytes:
    """The file with the JSON name of each field, which Python's descriptors leave out; grpcurl then takes and prints
    the standard lowerCamelCase names."""
    file = FileDescriptorProto.FromString(serialized)
    messages = list(file.message_type)
    for message in messages:
        messages.extend(message.nested_type)
        for field in message.field:
            field.json_name = field.json_name or _json_name(field.name)
    return file.SerializeToString()


def _json_name(field: str) -> str:
    head, *tail = field.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def channelz() -> Any:
    """grpc's own answers, with refusals as our errors."""
    return SimpleNamespace(
        **{method.name: _channelz_method(getattr(ChannelzServicer, method.name)) for method in CHANNELZ.methods}
    )


class _Refusal:
    """Takes what grpc's servicer says to its context."""

    code: grpc.StatusCode | None = None
    details = ""

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


def _channelz_method(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Call], Awaitable[Any]]:
    async def method(request: Any, call: Call) -> Any:
        refusal = _Refusal()
        response = answer(request, refusal)
        if refusal.code is grpc.StatusCode.NOT_FOUND:
            raise NotFound("channelz entity", str(request).strip(), hint=refusal.details)
        if response is None:
            raise InvalidRequest.of("(message)", refusal.details)
        return response

    return method
