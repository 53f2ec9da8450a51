"""Connection settings: address, token, TLS, retries, keepalive."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc

from tradewind.errors import TradewindError, Unauthenticated

DEFAULT_PORT = 50051
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
DEFAULT_TOKEN_FILE = Path("var/admin.token")
ADDRESS_ENV, TOKEN_ENV, TOKEN_FILE_ENV = "TRADEWIND_ADDRESS", "TRADEWIND_TOKEN", "TRADEWIND_TOKEN_FILE"

# What may be repeated without doing anything twice: reads, and mutations that carry the caller's key or set a state.
_RETRIED = {
    "SystemService": ("GetInfo", "ListServices", "ListTokens"),
    "MarketDataService": ("ListInstruments", "GetInstrument", "GetQuote", "GetBook", "ListTrades"),
    "OrderService": (
        "PlaceOrder",
        "BatchPlaceOrders",
        "PlaceOrderList",
        "CancelOrders",
        "SetCancelTimer",
        "SetTradingStatus",
        "SetReferencePrices",
        "GetOrder",
        "ListOrders",
        "ListFills",
    ),
    "AccountService": ("CreateAccount", "ListAccounts", "AdjustBalance", "ListBalances", "ListPositions"),
    "RiskService": ("GetExposure", "GetValueAtRisk", "RunStress", "BacktestVar", "WhatIf", "KillSwitch"),
}
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"tradewind.v1.{service}", "method": method}
                for service, methods in _RETRIED.items()
                for method in methods
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A server that was restarted, or its standby, is found within half a second however long it was away: an attempt
    # costs next to nothing, and until the next one every call fails at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # what one attempt may take where nothing answers, not even a refusal
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A connection of its own: one that a broken client shares with others would be closed under them.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True, repr=False)
class Connection:
    """Everything a channel needs. Made by `resolve`; holds the token, so it is never printed."""

    address: str
    token: str
    ca_certificate: bytes | None
    tls: bool
    tls_name: str | None = None

    @classmethod
    def resolve(
        cls,
        address: str | None = None,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        tls: bool = False,
        ca_file: str | Path | None = None,
        tls_name: str | None = None,
    ) -> Connection:
        """Fill in what was not given. What is given is used, or it is an error.

        The address from TRADEWIND_ADDRESS or 127.0.0.1:50051; without a port it is 50051. The token from
        TRADEWIND_TOKEN, or the file TRADEWIND_TOKEN_FILE; for a server on this machine `var/admin.token` if there is
        one; else calls are made without. `ca_file` (PEM) turns TLS on and trusts that authority alone; `tls_name` is the
        name the certificate is to be for, where it is not that of the address. Raises
        ValueError for an address or token that is empty or malformed, and when a token would leave this machine
        unencrypted; OSError for a file that was named and cannot be read.
        """
        for name, value in (("address", address), ("token", token), ("token_file", token_file), ("ca_file", ca_file)):
            if value is not None and not str(value).strip():
                raise ValueError(f"{name} is empty: give one, or leave it out")
        if token is not None and token_file is not None:
            raise ValueError("token and token_file are both given: give one")
        address = with_port(address or os.environ.get(ADDRESS_ENV) or DEFAULT_ADDRESS)
        tls = tls or ca_file is not None
        token = token or _find_token(token_file, here=is_same_machine(address, tls))
        if token and not tls and not is_local(address):
            raise ValueError(f"{address} is not this machine: use TLS, or the token would travel in clear")
        return cls(address, token, Path(ca_file).read_bytes() if ca_file else None, tls, tls_name)

    def explained(self, error: TradewindError) -> TradewindError:
        """The same error; one about a missing token says where a token is."""
        if isinstance(error, Unauthenticated) and not self.token:
            error.message += (
                f": no token was given and there is no {DEFAULT_TOKEN_FILE} in {Path.cwd()}; set {TOKEN_FILE_ENV} to the"
                " file admin.token in the server's data directory (`tradewind up` prints where), or give token="
            )
            error.args = (error.message,)
        return error

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        identity = (("x-request-id", request_id),)
        return (*identity, ("authorization", f"Bearer {self.token}")) if self.token else identity

    def open(self) -> grpc.Channel:
        """A channel of the blocking API. It connects with the first call."""
        if self.tls:
            return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca_certificate), self._options())
        return grpc.insecure_channel(self.address, _OPTIONS)

    def open_async(self) -> grpc.aio.Channel:
        """A channel of the asyncio API. It connects with the first call."""
        if self.tls:
            return grpc.aio.secure_channel(
                self.address, grpc.ssl_channel_credentials(self.ca_certificate), self._options()
            )
        return grpc.aio.insecure_channel(self.address, _OPTIONS)

    def _options(self) -> list[tuple[str, int | str]]:
        return [*_OPTIONS, ("grpc.ssl_target_name_override", self.tls_name)] if self.tls_name else _OPTIONS


def new_id() -> str:
    """A fresh id of 32 hexadecimal digits, for requests and orders."""
    return uuid.uuid4().hex


def _find_token(token_file: str | Path | None, here: bool) -> str:
    """The token that was named; of a server on this machine (`here`), else the one it keeps in `var`."""
    named = token_file or (None if os.environ.get(TOKEN_ENV) else os.environ.get(TOKEN_FILE_ENV))
    if named:
        return _token_in(Path(named))
    if token := os.environ.get(TOKEN_ENV):
        return token.strip()
    return _token_in(DEFAULT_TOKEN_FILE) if here and DEFAULT_TOKEN_FILE.is_file() else ""


def _token_in(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token:
        raise ValueError(f"{file} holds no token")
    return token


_GRPC_SCHEMES = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:")


def with_port(address: str) -> str:
    """`address` with the default port where it has none. Raises ValueError unless it is host, host:port, or a name of
    gRPC's own such as unix:/path."""
    if address.startswith(_GRPC_SCHEMES):
        return address
    host, colon, port = address.rpartition(":")
    if not colon or "]" in port:
        return _checked(address, address, DEFAULT_PORT)
    if ":" in host and not host.startswith("["):  # an IPv6 address as it is
        return _checked(address, f"[{address}]", DEFAULT_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"address {address}: the port is no number from 1 to 65535; write host:port")
    return _checked(address, host, int(port))


def _checked(address: str, host: str, port: int) -> str:
    if not host.strip("[]") or any(sign in host for sign in "/ @"):
        raise ValueError(f"address {address}: write host:port, such as {DEFAULT_ADDRESS}")
    return f"{host}:{port}"


def is_same_machine(address: str, tls: bool) -> bool:
    """Whether `address`, with its port, is this machine; also by its own name where TLS proves who answers."""
    return is_local(address) or (tls and address.rpartition(":")[0] == socket.gethostname())


def is_local(address: str) -> bool:
    """Whether `address`, with its port, is this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]") or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
