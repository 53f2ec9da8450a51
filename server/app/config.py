"""Settings: a TOML file, environment variables TRADEWIND_SECTION__NAME and command line overrides.

Precedence: overrides > environment > file > default. A setting nobody knows is refused with a suggestion, so that a
typing mistake never runs as a silent default. `docs/configuration.md` lists every setting; a test keeps it complete.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from fastpath.model.enums import PaperModel
from server.base.errors import ConfigError
from server.base.instruments import Instrument
from server.engine.own_instruments import OwnInstrument
from server.feeds.venue_config import DIALECTS, unservable
from server.process.settings import LogSettings, MetricsSettings, Section, ServerSettings, SnapshotSettings, is_loopback

DEFAULT_FILE = Path("tradewind.toml")
ENV_PREFIX = "TRADEWIND_"
_DELIMITER = "__"
OTHER_VARIABLES = frozenset(
    f"{ENV_PREFIX}{name}" for name in ("ACCOUNT", "ADDRESS", "FAILPOINT", "SOAK", "TOKEN", "TOKEN_FILE")
)
"""Variables that are no settings: of clients, and of tests."""
_NS_PER_MS = 1_000_000


class EngineSettings(Section):
    """The engine and what it keeps in memory."""

    max_orders: int = Field(
        default=4_000_000,
        ge=1000,
        description="Orders the engine can hold, closed ones included; one account: nine tenths.",
    )
    max_open_orders: int = Field(
        default=1_000_000, ge=1000, description="Orders open at the same time; one account: nine tenths."
    )
    queue_commands: int = Field(
        default=65_536, ge=1024, description="Commands waiting for the journal; more are answered RESOURCE_EXHAUSTED."
    )
    closed_orders: int = Field(
        default=200_000,
        ge=0,
        description="Closed orders kept in memory for ListOrders; older ones are still found by id.",
    )
    fills: int = Field(default=200_000, ge=0, description="Fills kept in memory for ListFills.")
    stream_log_bytes: int = Field(
        default=64 << 20,
        ge=1 << 20,
        description="Recent events kept for order and account streams, bytes: how far a reader may lag and resume.",
    )


class StorageSettings(Section):
    """Where things are kept; docs/stores.md explains the URLs."""

    journal_url: SecretStr | None = Field(
        default=None, description="Journal: `sqlite:` or `postgresql:`; by default `journal.db` in the data directory."
    )
    standby: bool = Field(
        default=False,
        description="If another server writes the journal, wait for its end and take over (PostgreSQL only).",
    )
    blotter_url: SecretStr | None = Field(
        default=None,
        description="History of orders, fills and balances: `sqlite:` or `postgresql:`; by default `blotter.db`"
        " in the data directory.",
    )
    ticks_url: SecretStr | None = Field(
        default=None,
        description="Recorded market data: `duckdb:`, `clickhouse:`, or `off`; by default `ticks.duckdb` in the data"
        " directory.",
    )
    ticks_days: int = Field(
        default=3, ge=1, description="Days after which recorded trades, quotes and books are dropped; candles stay."
    )
    bus_url: SecretStr | None = Field(
        default=None,
        description="`redis:` shares market data with servers whose `feeds.mode` is `bus`; by default it stays in the"
        " process.",
    )


class FeedSettings(Section):
    """Market data."""

    mode: Literal["replay", "live", "bus", "off"] = Field(
        default="replay",
        description="`replay` plays recorded data, `live` connects to exchanges, `bus` takes what another server"
        " publishes, `off`: internal book only.",
    )
    venues: dict[str, tuple[str, ...]] = Field(
        default={
            "binance": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"),
            "okx": ("BTC/USDT",),
            "bybit": ("BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"),
        },
        description="Venues and the symbols followed there, in ccxt's unified form.",
    )
    stale_after_s: float = Field(
        default=10.0,
        ge=1,
        le=3600,
        description="A connection over which nothing came for so long, no answer to a ping either, is taken anew, and its"
        " books are STALE meanwhile. Seconds.",
    )
    compare_every_s: float = Field(
        default=10.0,
        ge=0,
        le=86_400,
        description="Each LIVE book of a venue is compared with a snapshot fetched over REST so often, in seconds; 0: only"
        " when few of its known levels are left.",
    )
    compare_per_minute: int = Field(
        default=30,
        ge=1,
        le=600,
        description="Most snapshots fetched from a venue in a minute for that, all its books together.",
    )
    replay_speed: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Recorded seconds played in a second; 0: as fast as possible. Replay only.",
    )
    replay_url: str | None = Field(
        default=None,
        pattern=r"^http://[^/]+$",
        description="A replay exchange in a process of its own, such as `http://127.0.0.1:8600`. Replay only.",
    )


class PaperRules(Section):
    """How paper orders on instruments of a venue fill; what is not given is as in the section."""

    model: Literal["optimistic", "queue", "pessimistic"] | None = None
    latency_in_ms: float | None = Field(default=None, ge=0, le=1000)
    latency_out_ms: float | None = Field(default=None, ge=0, le=1000)


class PaperSettings(Section):
    """Paper orders on instruments of real venues; docs/orders.md explains the models"""

    model: Literal["optimistic", "queue", "pessimistic"] = Field(
        default="queue",
        description="When a resting order fills. `optimistic`: the market trades at its price; `queue`: what was displayed"
        " before it is gone; `pessimistic`: the market trades through its price.",
    )
    latency_in_ms: float = Field(
        default=0, ge=0, le=1000, description="How long an order takes to the venue, milliseconds."
    )
    latency_out_ms: float = Field(
        default=0, ge=0, le=1000, description="How long what happens at the venue takes to us, milliseconds."
    )
    rules: dict[str, PaperRules] = Field(
        default={},
        description="Other rules for a venue (`binance`) or an instrument (`binance:BTC/USDT`, which counts more).",
    )

    def applied(self, instrument: Instrument) -> Instrument:
        """The instrument with its paper model and latencies; one with a book of our own has none."""
        if not instrument.mirrored:
            return instrument
        given: dict[str, Any] = {"model": self.model, "in": self.latency_in_ms, "out": self.latency_out_ms}
        for name in (instrument.venue, instrument.name):
            rules = self.rules.get(name, PaperRules())
            own = {"model": rules.model, "in": rules.latency_in_ms, "out": rules.latency_out_ms}
            given |= _without_none(own)
        return replace(
            instrument,
            paper_model=int(PaperModel[f"PAPER_MODEL_{given['model'].upper()}"]),
            latency_in_ns=round(given["in"] * _NS_PER_MS),
            latency_out_ns=round(given["out"] * _NS_PER_MS),
        )


class AccountSettings(Section):
    """Accounts opened on the first start."""

    demo: bool = Field(default=True, description="Open the paper accounts `demo` and `maker` with play money; once.")


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(default=Path("var"), description="Where all state is kept; one running server a directory.")
    server: ServerSettings = ServerSettings()
    metrics: MetricsSettings = MetricsSettings()
    engine: EngineSettings = EngineSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    storage: StorageSettings = StorageSettings()
    feeds: FeedSettings = FeedSettings()
    paper: PaperSettings = PaperSettings()
    accounts: AccountSettings = AccountSettings()
    instruments: tuple[OwnInstrument, ...] = Field(
        default=(), description="Instruments of our own, on the venue `internal`, beside those that are there."
    )
    logging: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The settings from `path` (default: `tradewind.toml` in the working directory, if there is one), the environment
    and `overrides` (nested as the sections are; None values are ignored).

    Raises ConfigError; its message says which setting is wrong and what to do.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"configuration file {path} does not exist")
    file = path or DEFAULT_FILE
    _check_environment()
    # The file's name is part of the class in pydantic-settings, hence a class for this file.
    loaded = type("Config", (Config,), {"model_config": SettingsConfigDict(toml_file=file), "__module__": __name__})
    try:
        config: Config = loaded(**_without_none(overrides or {}))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    except SettingsError as error:
        raise ConfigError(f"{error}: lists and tables in environment variables are written as JSON") from None
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(error))) from None
    _check_server(config.server)
    problems = [*_check_feeds(config.feeds), *_check_paper(config.paper), *_check_instruments(config.instruments)]
    if problems:
        raise ConfigError("\n".join(problems))
    if config.feeds.mode == "bus" and config.storage.bus_url is None:
        raise ConfigError("feeds.mode bus needs storage.bus_url: the Redis to which another server publishes")
    return config


def setting_names() -> list[str]:
    """Every setting as `section.name`, in the order of the classes above."""
    names = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += [f"{name}.{inner}" for inner in section.model_fields]
        else:
            names.append(name)
    return names


def _check_server(server: ServerSettings) -> None:
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("server.tls_cert and server.tls_key go together: set both or none")
    for name, file in (("tls_cert", server.tls_cert), ("tls_key", server.tls_key)):
        if file is not None and not file.is_file():
            raise ConfigError(f"server.{name}: {file} does not exist")
    if not is_loopback(server.host) and server.tls_cert is None:
        raise ConfigError(
            f"server.host {server.host} can be reached from other machines, where tokens would travel unencrypted:"
            " set server.tls_cert and server.tls_key, or listen on 127.0.0.1"
        )


def _check_feeds(feeds: FeedSettings) -> Iterator[str]:
    """Yields a problem for each venue and symbol that can never be served, so that they are reported before the journal
    is read."""
    if feeds.mode not in ("replay", "live"):
        return
    if not feeds.venues:
        yield 'feeds.venues: no venue to follow; name some, or set feeds.mode to "off"'
    for venue, symbols in feeds.venues.items():
        yield from (f"feeds.venues: {problem}" for problem in unservable(venue, symbols))


def _check_paper(paper: PaperSettings) -> Iterator[str]:
    for name in paper.rules:
        if name.partition(":")[0] not in DIALECTS:
            yield f"paper.rules: {name!r} is of no venue; there are {', '.join(DIALECTS)}"


def _check_instruments(instruments: Sequence[OwnInstrument]) -> Iterator[str]:
    symbols = [each.symbol for each in instruments]
    for symbol in sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        yield f"instruments: {symbol} is defined twice"


def _check_environment() -> None:
    """Refuse unknown TRADEWIND_* variables, which pydantic-settings ignores."""
    known = {ENV_PREFIX + name.replace(".", _DELIMITER).upper() for name in setting_names()}
    sections = {ENV_PREFIX + name.upper() for name in Config.model_fields}
    for variable in os.environ:
        if not variable.upper().startswith(ENV_PREFIX) or variable.upper() in known | sections:
            continue
        if variable.upper().startswith((f"{ENV_PREFIX}FEEDS__VENUES__", f"{ENV_PREFIX}PAPER__RULES__")):
            continue
        if variable not in OTHER_VARIABLES:
            close = difflib.get_close_matches(variable.upper(), known | OTHER_VARIABLES, n=1, cutoff=0.75)
            raise ConfigError(f"environment variable {variable} is no setting: unset it" + _did_you_mean(close))


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, setting_names(), n=1, cutoff=0.5)
            yield f"{name} is no setting" + _did_you_mean(close)
        elif problem["type"] == "string_pattern_mismatch":
            yield f"{name} does not look as it should; docs/configuration.md has an example"
        else:
            text = problem["msg"].removeprefix("Value error, ")
            yield f"{name}: {text[:1].lower()}{text[1:]}"


def _did_you_mean(close: list[str]) -> str:
    return f"; did you mean {close[0]}?" if close else "; docs/configuration.md lists all of them"


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
