"""What operators' tools expect of any gRPC server: reflection (v1 and v1alpha) and channelz."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from server.errors import InvalidRequest, NotFound
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


def reflection(services: Iterable[str]) -> Any:
    """Answers both versions of the protocol."""
    return reflection_aio.ReflectionServicer(services)


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
