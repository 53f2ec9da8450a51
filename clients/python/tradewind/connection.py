"""Where the server is, who we are, and how calls behave: address, token, TLS, retries, keepalive."""

from __future__ import annotations

import ipaddress
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc

DEFAULT_ADDRESS = "127.0.0.1:50051"
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
    # A server that was restarted, or its standby, is found at once; the waits between attempts grow from there.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
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

    @classmethod
    def resolve(
        cls,
        address: str | None = None,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        tls: bool = False,
        ca_file: str | Path | None = None,
    ) -> Connection:
        """Fill in what was not given.

        The address from TRADEWIND_ADDRESS or 127.0.0.1:50051. The token from TRADEWIND_TOKEN, or the file `token_file`,
        TRADEWIND_TOKEN_FILE or `var/admin.token` if there is one; else calls are made without. `ca_file` (PEM) turns
        TLS on and trusts that authority alone. Raises ValueError when a token would leave this machine unencrypted, and
        OSError for a file that was named and cannot be read.
        """
        address = address or os.environ.get(ADDRESS_ENV) or DEFAULT_ADDRESS
        tls = tls or ca_file is not None
        token = token or _find_token(token_file)
        if token and not tls and not _is_local(address):
            raise ValueError(f"{address} is not this machine: use TLS, or the token would travel in clear")
        return cls(address, token, Path(ca_file).read_bytes() if ca_file else None, tls)

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        identity = (("x-request-id", request_id),)
        return (*identity, ("authorization", f"Bearer {self.token}")) if self.token else identity

    def open(self) -> grpc.Channel:
        """A channel of the blocking API. It connects with the first call."""
        if self.tls:
            return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca_certificate), _OPTIONS)
        return grpc.insecure_channel(self.address, _OPTIONS)

    def open_async(self) -> grpc.aio.Channel:
        """A channel of the asyncio API. It connects with the first call."""
        if self.tls:
            return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca_certificate), _OPTIONS)
        return grpc.aio.insecure_channel(self.address, _OPTIONS)


def new_id() -> str:
    """A fresh id of 32 hexadecimal digits, for requests and orders."""
    return uuid.uuid4().hex


def _find_token(token_file: str | Path | None) -> str:
    named = token_file or (None if os.environ.get(TOKEN_ENV) else os.environ.get(TOKEN_FILE_ENV))
    if named:
        return Path(named).read_text(encoding="ascii").strip()
    if token := os.environ.get(TOKEN_ENV):
        return token.strip()
    return DEFAULT_TOKEN_FILE.read_text(encoding="ascii").strip() if DEFAULT_TOKEN_FILE.is_file() else ""


def _is_local(address: str) -> bool:
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]") or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
