"""Settings sections: gRPC server, metrics, snapshots, log."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """The gRPC server."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; anything but loopback needs `tls_cert` and `tls_key`."
    )
    port: int = Field(default=50051, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    tls_cert: Path | None = Field(default=None, description="PEM file with the server's certificate chain.")
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's private key.")
    max_message_bytes: int = Field(default=4 << 20, ge=1024, le=64 << 20, description="Largest request message, bytes.")
    max_connection_streams: int = Field(
        default=1000, ge=1, description="Calls open at the same time on one connection."
    )
    max_token_streams: int = Field(default=100, ge=1, description="Streams open at the same time with one token.")
    max_streams: int = Field(default=2_000, ge=1, description="Streams open at the same time, of all tokens.")
    requests_per_second: int = Field(
        default=20_000, ge=1, description="Calls a token may make, per second; as many may come in one burst."
    )
    unary_deadline_ms: int = Field(
        default=10_000, ge=10, description="A call that is no stream is ended after this time, milliseconds."
    )
    stop_grace_ms: int = Field(
        default=5_000, ge=0, description="How long a graceful stop waits for calls in progress, milliseconds."
    )


class MetricsSettings(Section):
    """Prometheus metrics over HTTP."""

    enabled: bool = Field(default=True, description="Whether `/metrics` is served.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=9464, ge=0, le=65535, description="TCP port; 0 takes any free one.")


class SnapshotSettings(Section):
    """Snapshots of the engine, from which a start recovers quickly."""

    every_commands: int = Field(default=500_000, ge=1, description="A snapshot is made after so many commands.")
    every_minutes: float = Field(
        default=15, gt=0, description="And after so many minutes, if there was any command since the last."
    )
    keep: int = Field(default=3, ge=1, description="Snapshots kept in `data_dir`/snapshots; older ones are deleted.")


class LogSettings(Section):
    """Logs, to standard error or a file."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`json`: an object a line; `console`: for people; `auto`: console on a terminal, else json.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level shown."
    )
    file: Path | None = Field(default=None, description="Write to this file instead, which is rotated.")
    file_bytes: int = Field(default=10 << 20, ge=1 << 16, description="A log file begins anew at this size, bytes.")
    file_keep: int = Field(default=5, ge=1, le=100, description="Earlier log files that are kept.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
