"""Settings: precedence, refusals that help, and that the documentation lists every one."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from fastpath.model.enums import PaperModel
from server.app.config import OTHER_VARIABLES, Config, load_config, setting_names
from server.base.errors import ConfigError
from server.base.failpoints import VARIABLE
from server.base.instruments import Instrument, InstrumentKind
from server.process.settings import is_loopback
from tradewind.connection import ADDRESS_ENV, TOKEN_ENV, TOKEN_FILE_ENV

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and environment without settings of ours."""
    import os

    for name in list(os.environ):
        if name.startswith("TRADEWIND_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_work_without_a_file() -> None:
    config = load_config()
    assert config.data_dir == Path("var")
    assert (config.server.host, config.server.port) == ("127.0.0.1", 50051)
    assert (config.metrics.host, config.metrics.port) == ("127.0.0.1", 9464)
    assert config.feeds.mode == "replay"


def test_overrides_beat_environment_beats_file(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / "tradewind.toml").write_text('data_dir = "file"\n[server]\nport = 1\nmax_token_streams = 7\n')
    assert load_config().server.port == 1
    monkeypatch.setenv("TRADEWIND_SERVER__PORT", "2")
    monkeypatch.setenv("TRADEWIND_DATA_DIR", "environment")
    config = load_config(overrides={"server": {"port": None}})
    assert (config.server.port, config.server.max_token_streams, config.data_dir) == (2, 7, Path("environment"))
    config = load_config(overrides={"data_dir": "here", "server": {"port": 3}})
    assert (config.server.port, config.server.max_token_streams, config.data_dir) == (3, 7, Path("here"))


def test_a_file_can_be_named(clean: Path) -> None:
    other = clean / "other.toml"
    other.write_text('[feeds]\nmode = "off"\n[feeds.venues]\nbinance = ["BTC/USDT"]\n')
    config = load_config(other)
    assert config.feeds.mode == "off"
    assert config.feeds.venues == {"binance": ("BTC/USDT",)}
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_config(clean / "missing.toml")


def test_paper_rules_of_an_instrument_count_more_than_those_of_its_venue(clean: Path) -> None:
    (clean / "tradewind.toml").write_text(
        'paper.latency_out_ms = 2.5\n[paper.rules.binance]\nlatency_in_ms = 20\nmodel = "optimistic"\n'
        '[paper.rules."binance:BTC/USDT"]\nmodel = "pessimistic"\n'
    )
    paper = load_config().paper

    def rules(name: str) -> tuple[str, int, int]:
        applied = paper.applied(
            Instrument(0, name, "BTC", "USDT", InstrumentKind.SPOT, Decimal("0.01"), Decimal("0.001"))
        )
        return PaperModel(applied.paper_model).name, applied.latency_in_ns, applied.latency_out_ns

    assert rules("okx:BTC/USDT") == ("PAPER_MODEL_QUEUE", 0, 2_500_000)
    assert rules("binance:ETH/USDT") == ("PAPER_MODEL_OPTIMISTIC", 20_000_000, 2_500_000)
    assert rules("binance:BTC/USDT") == ("PAPER_MODEL_PESSIMISTIC", 20_000_000, 2_500_000)
    assert rules("internal:BTC/USDT") == ("PAPER_MODEL_UNSPECIFIED", 0, 0)
    (clean / "tradewind.toml").write_text('[paper]\nmodel = "hopeful"\n')
    with pytest.raises(ConfigError, match=r"paper\.model"):
        load_config()


def test_tables_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_FEEDS__VENUES", '{"okx": ["BTC/USDT"]}')
    assert load_config().feeds.venues == {"okx": ("BTC/USDT",)}
    monkeypatch.setenv("TRADEWIND_FEEDS__VENUES", "okx")
    with pytest.raises(ConfigError, match=r"JSON|venues"):
        load_config()


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("[server]\nprot = 1", "server.port"),
        ("[sever]\nport = 1", "did you mean"),
        ("data_dri = 'x'", "data_dir"),
        ("[metrics]\nquite_unlike_anything = 1", "metrics."),
    ],
)
def test_unknown_settings_are_refused_with_a_suggestion(clean: Path, text: str, suggestion: str) -> None:
    (clean / "tradewind.toml").write_text(text)
    with pytest.raises(ConfigError, match=suggestion):
        load_config()


def test_a_replay_exchange_is_named_by_its_url(clean: Path) -> None:
    (clean / "tradewind.toml").write_text('[feeds]\nreplay_url = "http://127.0.0.1:8600"\n')
    assert load_config().feeds.replay_url == "http://127.0.0.1:8600"
    for wrong in ("127.0.0.1:8600", "https://127.0.0.1:8600", "http://127.0.0.1:8600/binance"):
        with pytest.raises(ConfigError, match=r"feeds\.replay_url does not look as it should"):
            load_config(overrides={"feeds": {"replay_url": wrong}})


@pytest.mark.parametrize(
    "variable", ["TRADEWIND_SERVER__PROT", "TRADEWIND_DATADIR", "TRADEWIND_NOSUCH__THING", "TRADEWIND_FOO"]
)
def test_mistyped_environment_variables_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match=variable):
        load_config()


def test_variables_of_clients_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_config().model_dump()
    assert {ADDRESS_ENV, TOKEN_ENV, TOKEN_FILE_ENV, VARIABLE} < OTHER_VARIABLES
    for variable in OTHER_VARIABLES:
        monkeypatch.setenv(variable, "x")
    assert load_config().model_dump() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"server": {"port": 70000}}, "server.port"),
        ({"server": {"port": "many"}}, "server.port"),
        ({"feeds": {"mode": "demo"}}, "feeds.mode"),
        ({"feeds": {"replay_speed": -1}}, "feeds.replay_speed"),
        ({"server": {"tls_cert": "a.pem"}}, "go together"),
        ({"server": {"tls_cert": "a.pem", "tls_key": "b.pem"}}, "does not exist"),
    ],
)
def test_values_out_of_their_domain_name_the_setting(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=overrides)


def test_what_can_never_be_followed_is_refused_all_at_once() -> None:
    venues = {"kraken": ["BTC/USD"], "binance": ["BTC/USDT", "BTC/USD:BTC"], "okx": [], "bybit": ["BTCUSDT"]}
    with pytest.raises(ConfigError) as refused:
        load_config(overrides={"feeds": {"venues": venues}, "paper": {"rules": {"binanse": {"model": "queue"}}}})
    problems = refused.value.message.splitlines()
    assert len(problems) == 5
    for problem, part in zip(problems, ("'kraken'", "COIN-M", "okx: no symbols", "'BTCUSDT'", "'binanse'"), strict=True):
        assert part in problem
    with pytest.raises(ConfigError, match=r'no venue to follow.*feeds.mode to "off"'):
        load_config(overrides={"feeds": {"venues": {}}})
    assert load_config(overrides={"feeds": {"venues": venues, "mode": "off"}}).feeds.mode == "off"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_are_served_with_tls_only(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="tls_cert"):
        load_config(overrides={"server": {"host": host}})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert load_config(overrides={"server": {"host": host}}).server.host == host


def test_broken_toml_says_where(clean: Path) -> None:
    (clean / "tradewind.toml").write_text("[server\n")
    with pytest.raises(ConfigError, match=r"tradewind\.toml is not valid TOML"):
        load_config()


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name in setting_names():
        rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(rows) == 1, f"docs/configuration.md needs one row for {name}"
        section, _, inner = name.rpartition(".")
        fields = (Config.model_fields[section].annotation if section else Config).model_fields  # type: ignore[union-attr]
        default = fields[inner].default
        if isinstance(default, bool | int | float | str):
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert shown.replace("_", "") in rows[0].replace("_", "").replace(",", ""), f"{name}: default {shown}"


def test_two_errors_are_two_sentences(clean: Path) -> None:
    (clean / "tradewind.toml").write_text('[server]\nport = -1\n[feeds]\nmode = "some"\n')
    with pytest.raises(ConfigError) as caught:
        load_config()
    first, second = caught.value.message.split("; ")
    assert (first.partition(":")[0], second.partition(":")[0]) == ("server.port", "feeds.mode")


OWN = '[[instruments]]\nsymbol = "DOGE/USDT"\ntick_size = "0.00001"\nlot_size = 1\n'


def test_instruments_of_our_own_are_defined_by_the_file(clean: Path) -> None:
    (clean / "tradewind.toml").write_text(OWN + 'min_qty = "10"\nmaker_fee_bps = -0.5\n')
    (own,) = (each.instrument() for each in load_config().instruments)
    assert (own.name, own.base, own.quote, own.min_qty) == ("internal:DOGE/USDT", "DOGE", "USDT", 10)
    assert (str(own.tick_size), str(own.maker_fee_bps), own.tradable) == ("0.00001", "-0.5", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + OWN, "DOGE/USDT is defined twice"),
        (OWN.replace("DOGE/USDT", "doge"), "instruments.0.symbol"),
        (OWN.replace("DOGE/USDT", "A/A"), "trades an asset for itself"),
        (OWN.replace('"0.00001"', '"0"'), "instruments.0.tick_size: input should be greater than 0"),
        (OWN.replace('"0.00001"', '"1e-12"').replace("= 1\n", '= "1e-7"\n'), "more than 18 decimals"),
        (OWN + "min_qty = 1.5\n", "min_qty: 1.5 is not a multiple of 1"),
        (OWN + "min_qty = 3\nmax_qty = 2\n", "max_qty 2 is less than min_qty 3"),
        (OWN + "taker_fee_bps = 1\nmaker_fee_bps = -2\n", "a maker's rebate"),
        (OWN + "tik = 1\n", "instruments.0.tik is no setting"),
    ],
)
def test_an_instrument_that_cannot_be_is_refused_before_anything_starts(clean: Path, text: str, message: str) -> None:
    (clean / "tradewind.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config()
