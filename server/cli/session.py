"""Which server a command talks to, and as whom; and the options that many commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from server.cli.certificate import name_in_certificate, reachable
from server.process.lifecycle import running_instance
from tradewind import Client
from tradewind.connection import TOKEN_ENV, TOKEN_FILE_ENV, is_same_machine, with_port

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
    """The global options. What was named is used, or it is an error; what was not is found: the server by its data
    directory, its token there too. The command line counts more than the environment, that more than the settings file.
    """

    address: str | None
    token_file: Path | None
    given_data_dir: Path | None
    ca_file: Path | None
    typed: frozenset[str] = frozenset()
    """The options that stand on the command line."""

    @property
    def data_dir(self) -> Path:
        """The data directory that was given, or that of the settings file, or `var`. Raises ConfigError."""
        return self._named_data_dir() or DEFAULT_DATA_DIR

    def local_data_dir(self, given: Path | None = None) -> Path:
        """The data directory for a command that works on one, `given` to it or to all. Raises typer.BadParameter where
        an option names a server instead: the command would work on another than that."""
        self.refuse_server_options()
        if given is not None:
            return given
        if self.given_data_dir is None and self.address is not None:
            raise typer.BadParameter(
                "this command works on a data directory, not on the server it names: give --data-dir",
                param_hint="TRADEWIND_ADDRESS",
            )
        return self.data_dir

    def refuse_server_options(self) -> None:
        """Raises typer.BadParameter for options of a client: the command would not use them."""
        for option in ("--address", "--token-file", "--ca-file"):
            if option in self.typed:
                raise typer.BadParameter("this command works on a data directory of this machine", param_hint=option)

    def client(self, account: str | None = None) -> Client:
        """A connection; raises ValueError or OSError when the options make no sense or no server is where they say."""
        address, certificate = self._where()
        token_file = self._token_file(address)
        if certificate is None or address is None:
            return Client(address, account=account, token_file=token_file, ca_file=self.ca_file)
        name = name_in_certificate(address, certificate)
        return Client(
            address, account=account, token_file=token_file, ca_file=self.ca_file or certificate, tls_name=name
        )

    def _named_data_dir(self) -> Path | None:
        if self.given_data_dir is not None:
            return self.given_data_dir
        if not SETTINGS_FILE.is_file():
            return None
        from server.app.config import load_config  # only where there are settings, because it takes a moment

        settings = load_config()
        return settings.data_dir if "data_dir" in settings.model_fields_set else None

    def _address_counts(self) -> bool:
        """Whether the address decides, not the data directory: unless only the latter stands on the command line."""
        return self.address is not None and ("--address" in self.typed or "--data-dir" not in self.typed)

    def _directory_counts(self) -> bool:
        """Whether the data directory, if one is named, is not overruled by the address."""
        if not self._address_counts():
            return True
        return self.given_data_dir is not None and ("--data-dir" in self.typed) == ("--address" in self.typed)

    def _where(self) -> tuple[str | None, Path | None]:
        """The address to connect to, None: the SDK's default; and the certificate of a server of this machine."""
        directory = self._named_data_dir()
        if self._address_counts():
            assert self.address is not None
            if directory is not None and self._directory_counts():
                _check_same_server(self.address, directory)
            return self.address, None
        running = running_instance(directory or DEFAULT_DATA_DIR)
        if running is not None:
            if not running.address:
                raise ValueError(f"the server on {directory} (process {running.pid}) is still starting: try again soon")
            return reachable(running.address), running.certificate
        if directory is None:
            return None, None
        raise ValueError(
            f"no server runs on the data directory {directory}. Start one with: tradewind up --data-dir {directory};"
            " or name another server by --data-dir or --address"
        )

    def _token_file(self, address: str | None) -> Path | None:
        if self.token_file is not None or any(map(os.environ.get, (TOKEN_ENV, TOKEN_FILE_ENV))):
            return self.token_file  # None: the SDK takes what the environment says
        directory = self._named_data_dir()
        admin = (directory or DEFAULT_DATA_DIR) / ADMIN_TOKEN
        here = address is None or is_same_machine(with_port(address), self.ca_file is not None)
        if admin.is_file() and (here or self._directory_counts()):
            return admin
        if directory is None and here:
            return None  # the first start is to come: whether a server answers at all is said first
        raise ValueError(
            f"no token for {address or directory}: {admin} "
            + ("does not exist" if here or self._directory_counts() else "is for a server of this machine")
            + f"; name one by --token-file, {TOKEN_ENV} or {TOKEN_FILE_ENV}"
        )


def _check_same_server(address: str, directory: Path) -> None:
    """Raises ValueError if the server that runs on `directory` listens on another port than `address` says."""
    running = running_instance(directory)
    if running is None or not running.address:
        return
    if running.address.rpartition(":")[2] != with_port(address).rpartition(":")[2]:
        raise ValueError(
            f"two servers are named: {address}, and the one on {directory}, which listens on {running.address};"
            " give --address or --data-dir"
        )


def session_of(context: typer.Context) -> Session:
    session = context.obj
    assert isinstance(session, Session)
    return session
