"""From a URL in the configuration to an open store. Each driver is imported only if its store is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from server.base.background import FailureListener
from server.base.errors import ConfigError
from server.storage.ports import BlotterStore, Bus, Journal, JournalReader, TickStore


def open_journal(
    url: str, *, new_epoch: str, mark: Path | None = None, keep_waiting: Callable[[], bool] | None = None
) -> Journal:
    """`sqlite:///path/journal.db` or `postgresql://user:password@host/database`. Blocks. Raises ConfigError.

    `new_epoch` names the journal if it does not exist yet. `mark`: where this machine notes how far a journal in a
    database went; a file has its mark beside it. `keep_waiting`: be the standby of a server that writes the
    journal now (PostgreSQL only; see PostgresJournal).
    """
    scheme = _scheme(url)
    if scheme == "sqlite":
        from server.storage.sqlite_journal import SqliteJournal

        if keep_waiting is not None:
            raise ConfigError("a standby needs a journal in PostgreSQL: an SQLite journal has one machine")
        return SqliteJournal(_path(url), new_epoch=new_epoch)
    if scheme in ("postgresql", "postgres"):
        from server.storage.postgres_journal import PostgresJournal

        return PostgresJournal(url, new_epoch=new_epoch, mark=mark, keep_waiting=keep_waiting)
    raise _unknown("journal", url, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def open_journal_reader(url: str) -> JournalReader:
    """Reads a journal beside the server that writes it. Blocks. Raises ConfigError, JournalCorrupt."""
    scheme = _scheme(url)
    if scheme == "sqlite":
        from server.storage.sqlite_rows import SqliteJournalReader

        return SqliteJournalReader(_path(url))
    if scheme in ("postgresql", "postgres"):
        from server.storage.postgres_rows import PostgresJournalReader

        return PostgresJournalReader(url)
    raise _unknown("journal", url, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def sqlite_url(path: Path) -> str:
    """The URL of a journal in a file."""
    return f"sqlite:///{quote(str(path))}"


def open_blotter(url: str, *, epoch: str) -> BlotterStore:
    """`sqlite:///path/blotter.db` or `postgresql://user:password@host/database`, for the journal named `epoch`.

    Connects when it is first used. Raises ConfigError where the URL is wrong.
    """
    scheme = _scheme(url)
    if scheme == "sqlite":
        from server.storage.sqlite_blotter import SqliteBlotter

        return SqliteBlotter(_path(url), epoch=epoch)
    if scheme in ("postgresql", "postgres"):
        from server.storage.postgres_blotter import PostgresBlotter

        return PostgresBlotter(url, epoch=epoch)
    raise _unknown("blotter", url, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def open_tick_store(url: str, *, timeout_s: float = 10.0) -> TickStore:
    """`duckdb:///path/ticks.duckdb` or `clickhouse://user:password@host:9000/database`. Blocks.

    A ClickHouse silent for `timeout_s` counts as away.
    Raises ConfigError where the URL is wrong, Unavailable if the file cannot be used; a ClickHouse that is away is not an
    error here.
    """
    scheme = _scheme(url)
    if scheme == "duckdb":
        from server.storage.duckdb_ticks import DuckDBTicks

        return DuckDBTicks(_path(url))
    if scheme in ("clickhouse", "clickhouses"):
        from server.storage.clickhouse_ticks import ClickHouseTicks

        return ClickHouseTicks(url, timeout_s=timeout_s)
    raise _unknown("tick store", url, "duckdb:///PATH or clickhouse://USER:PASSWORD@HOST:PORT/DATABASE")


def open_bus(url: str, *, first_sequence: int, on_failure: FailureListener = lambda reason: None) -> Bus:
    """`memory:` or `redis://user:password@host:6379/0`; `?prefix=NAME` keeps installations apart. Raises ConfigError.

    `first_sequence` numbers this publisher's market messages from there on; the start time in nanoseconds keeps the
    numbers of one run apart from those of the next. Call it on the event loop that uses the bus.
    """
    scheme = _scheme(url)
    if scheme == "memory":
        from server.storage.bus_memory import MemoryBus

        return MemoryBus(first_sequence=first_sequence)
    if scheme in ("redis", "rediss"):
        from server.storage.redis_bus import RedisBus

        address, _, query = url.partition("?")
        options = dict(parse_qsl(query))
        prefix = options.pop("prefix", "tradewind")
        if options:
            raise ConfigError(f"bus URL: unknown option {', '.join(options)}; the only one is prefix")
        return RedisBus(address, prefix=prefix, first_sequence=first_sequence, on_failure=on_failure)
    raise _unknown("bus", url, "memory: or redis://USER:PASSWORD@HOST:PORT/DATABASE")


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f"a store's URL is malformed: {error}") from None


def _path(url: str) -> Path:
    """`scheme:///relative/path` or `scheme:////absolute/path`, as SQLAlchemy reads it; also `scheme:path`."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc:
        raise ConfigError(f"{parts.scheme}: a file has no host; write {parts.scheme}:///PATH")
    if url.startswith(f"{parts.scheme}:///"):
        path = path.removeprefix("/") if not path.startswith("//") else path[1:]
    if not path:
        raise ConfigError(f"{parts.scheme}: the URL names no file; write {parts.scheme}:///PATH")
    return Path(path)


def _unknown(what: str, url: str, forms: str) -> ConfigError:
    return ConfigError(f"{what} URL with {_scheme(url) or 'no scheme'}: use {forms}")
