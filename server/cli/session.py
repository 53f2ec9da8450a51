"""Which server a command talks to, and as whom; and the options that many commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from server.lifecycle import running_instance
from tradewind import Client
from tradewind.connection import TOKEN_ENV, TOKEN_FILE_ENV

DEFAULT_DATA_DIR = Path("var")
ADMIN_TOKEN = "admin.token"
SETTINGS_FILE = Path("tradewind.toml")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON: one document, or a line an event when watching.")]
WatchFlag = Annotated[bool, typer.Option("--watch", "-w", help="Keep following until Ctrl-C.")]
AccountOption = Annotated[str, typer.Option("--account", "-a", envvar="TRADEWIND_ACCOUNT", help="Account to act for.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")]
InstrumentArgument = Annotated[
    str, typer.Argument(metavar="INSTRUMENT", help="venue:SYMBOL, such as binance:BTC/USDT.")
]

DEFAULT_ACCOUNT = "demo"


@dataclass(frozen=True, slots=True)
class Session:
    """The global options. What was not given is found: the server by its data directory, its token there too."""

    address: str | None
    token_file: Path | None
    given_data_dir: Path | None
    ca_file: Path | None

    @property
    def data_dir(self) -> Path:
        """The data directory that was given, or that of the settings file, or `var`. Raises ConfigError."""
        if self.given_data_dir is not None:
            return self.given_data_dir
        if not SETTINGS_FILE.is_file():
            return DEFAULT_DATA_DIR
        from server.config import load_config  # only where there are settings, because it takes a moment

        return load_config().data_dir

    def client(self, account: str | None = None) -> Client:
        """A connection; raises ValueError or OSError when the options make no sense."""
        address = self.address
        if address is None and (running := running_instance(self.data_dir)) is not None:
            address = running.address or None
        return Client(address, account=account, token_file=self._token_file(), ca_file=self.ca_file)

    def _token_file(self) -> Path | None:
        if self.token_file is not None or any(map(os.environ.get, (TOKEN_ENV, TOKEN_FILE_ENV))):
            return self.token_file  # None: the SDK takes what the environment says
        admin = self.data_dir / ADMIN_TOKEN
        return admin if admin.is_file() else None


def session_of(context: typer.Context) -> Session:
    session = context.obj
    assert isinstance(session, Session)
    return session
