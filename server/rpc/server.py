"""The gRPC server: which services, with what options, on which address."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2

from server.base.errors import ConfigError, ShuttingDown
from server.process.lifecycle import StatusBoard
from server.process.settings import ServerSettings, is_loopback
from server.rpc.accounts import AccountService
from server.rpc.boundary import Boundary
from server.rpc.health import Health
from server.rpc.market_data import MarketDataService
from server.rpc.operator import CHANNELZ, REFLECTION_V1ALPHA, Reflection, channelz, reflection_v1
from server.rpc.orders import OrderService
from server.rpc.risk import RiskService
from server.rpc.streams import RECONNECT
from server.rpc.system import SystemService
from tradewind.v1 import accounts_pb2, market_data_pb2, orders_pb2, risk_pb2, system_pb2

SYSTEM: ServiceDescriptor = system_pb2.DESCRIPTOR.services_by_name["SystemService"]
MARKET_DATA: ServiceDescriptor = market_data_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
ORDERS: ServiceDescriptor = orders_pb2.DESCRIPTOR.services_by_name["OrderService"]
ACCOUNTS: ServiceDescriptor = accounts_pb2.DESCRIPTOR.services_by_name["AccountService"]
RISK: ServiceDescriptor = risk_pb2.DESCRIPTOR.services_by_name["RiskService"]
HEALTH: ServiceDescriptor = health_pb2.DESCRIPTOR.services_by_name["Health"]
PUBLIC = (SYSTEM, MARKET_DATA, ORDERS, ACCOUNTS, RISK)

# A message above the configured limit is refused with a reason by the boundary; above this multiple of it grpc itself
# ends the call (RESOURCE_EXHAUSTED) without taking it in.
_HARD_LIMIT_FACTOR = 4
_REFUSE_S = 0.2
_NOTICE_PATIENCE_S = 1.0
_PING_INTERVAL_MS = 30_000
_PING_TIMEOUT_MS = 10_000
_CLIENT_PING_INTERVAL_MS = 10_000


@dataclass(frozen=True, slots=True)
class Services:
    """What implements the public services."""

    system: SystemService
    market_data: MarketDataService
    orders: OrderService
    accounts: AccountService
    risk: RiskService


class GrpcServer:
    """Everything that is served, on one address. Life: made (the port is taken), `start`, `stop`."""

    def __init__(self, settings: ServerSettings, boundary: Boundary, services: Services, board: StatusBoard) -> None:
        """Raises ConfigError if the address cannot be taken."""
        self._boundary = boundary
        self._grace_s = settings.stop_grace_ms / 1000
        loopback = is_loopback(settings.host)
        self._server = grpc.aio.server(options=_options(settings, channelz=loopback))
        self._server.add_generic_rpc_handlers(
            [
                boundary.service(service, implementation)
                for service, implementation in _offered(services, board, loopback=loopback)
            ]
        )
        self.address = bind(self._server, settings)
        """host:port"""

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Refuse new calls, end the streams, let calls in progress finish."""
        await self._boundary.close(ShuttingDown(RECONNECT), refuse_s=_REFUSE_S, patience_s=_NOTICE_PATIENCE_S)
        await self._server.stop(self._grace_s)


def _offered(services: Services, board: StatusBoard, *, loopback: bool) -> list[tuple[ServiceDescriptor, object]]:
    """All services with what implements them."""
    offered: list[tuple[ServiceDescriptor, object]] = [
        (SYSTEM, services.system),
        (MARKET_DATA, services.market_data),
        (ORDERS, services.orders),
        (ACCOUNTS, services.accounts),
        (RISK, services.risk),
        (HEALTH, Health(board, tuple(service.full_name for service in PUBLIC))),
    ]
    if loopback:
        offered.append((CHANNELZ, channelz()))
    versions = (reflection_v1(), REFLECTION_V1ALPHA)
    reflection = Reflection([service.full_name for service, _ in offered] + [each.full_name for each in versions])
    return offered + [(each, reflection) for each in versions]


def bind(server: grpc.aio.Server, settings: ServerSettings) -> str:
    """Take the port, before `server.start()`. Returns host:port. Raises ConfigError."""
    address = check_address(settings)
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            port = server.add_secure_port(address, _credentials(settings.tls_cert, settings.tls_key))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError:
        raise _cannot_listen(address) from None
    return f"{address.rpartition(':')[0]}:{port}"


def check_address(settings: ServerSettings) -> str:
    """host:port as configured. Raises ConfigError if it cannot be taken, before grpc finds out, which prints lines of its
    own about it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    try:
        _check_free(settings.host, settings.port)
    except OSError:
        raise _cannot_listen(address) from None
    return address


def _cannot_listen(address: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {address}: something else uses the port, or the address is not of this machine;"
        " choose another with server.port (--port) and server.host, or stop what runs there"
    )


def _options(settings: ServerSettings, *, channelz: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes * _HARD_LIMIT_FACTOR),
        ("grpc.max_concurrent_streams", settings.max_connection_streams),
        ("grpc.keepalive_time_ms", _PING_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # The default of 5 minutes ends clients that ping to keep their connection alive.
        ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PING_INTERVAL_MS),
        # A second server on the same port is a mistake, not load balancing.
        ("grpc.so_reuseport", 0),
        ("grpc.enable_channelz", int(channelz)),
    ]


def _check_free(host: str, port: int) -> None:
    """Raises OSError if the port is taken."""
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def _credentials(cert: Path, key: Path) -> grpc.ServerCredentials:
    try:
        key_pem, cert_pem = key.read_bytes(), cert.read_bytes()
    except OSError as error:
        raise ConfigError(f"server.tls_cert and server.tls_key cannot be read: {error}") from None
    _check_pair(cert, cert_pem, key, key_pem)
    return grpc.ssl_server_credentials([(key_pem, cert_pem)])


def _check_pair(cert: Path, cert_pem: bytes, key: Path, key_pem: bytes) -> None:
    """Raises ConfigError that says what is wrong with the two files; grpc only says that something is."""
    for setting, path, pem, wanted in (
        ("tls_cert", cert, cert_pem, b"CERTIFICATE-----"), ("tls_key", key, key_pem, b"PRIVATE KEY-----"),
    ):  # fmt: skip
        if wanted not in pem:
            swapped = b"PRIVATE KEY-----" in cert_pem and b"CERTIFICATE-----" in key_pem
            what = "the two are swapped" if swapped else f"it holds no {wanted.decode().strip('-').lower()} in PEM form"
            raise ConfigError(f"server.{setting} {path}: {what}")
    if b"ENCRYPTED" in key_pem:
        raise ConfigError(f"server.tls_key {key}: it is encrypted with a passphrase; give one that is not")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"server.tls_cert {cert} and server.tls_key {key} do not belong together, or one is damaged"
            f" ({error.reason or error})"
        ) from None
