"""The package itself: what is generated, what is shipped, and that names here and on the wire agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradewind
from clients.python.blocking import blocking_source
from tradewind import convert, models, risk
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2, risk_pb2, system_pb2

SDK = Path(__file__).resolve().parent.parent
ENUMS = [
    (models.Side, common_pb2.Side),
    (models.Liquidity, common_pb2.Liquidity),
    (models.OrderType, orders_pb2.OrderType),
    (models.OrderStatus, orders_pb2.OrderStatus),
    (models.TimeInForce, orders_pb2.TimeInForce),
    (models.OrderListType, orders_pb2.OrderListType),
    (models.TriggerSource, orders_pb2.TriggerSource),
    (models.SelfTradePrevention, orders_pb2.SelfTradePrevention),
    (models.InstrumentKind, market_data_pb2.InstrumentKind),
    (models.TradingStatus, common_pb2.TradingStatus),
    (models.FeedState, market_data_pb2.FeedState),
    (models.AccountMode, accounts_pb2.AccountMode),
    (models.ServiceState, system_pb2.ServiceState),
    (models.Scope, system_pb2.Scope),
    (risk.PriceSource, risk_pb2.PriceSource),
    (risk.VarMethod, risk_pb2.VarMethod),
    (risk.CovarianceEstimator, risk_pb2.CovarianceEstimator),
    (risk.HorizonScaling, risk_pb2.HorizonScaling),
]


@pytest.mark.parametrize(("kind", "wire"), ENUMS)
def test_an_enumeration_has_the_names_of_the_wire(kind: type[models.Side], wire: type[common_pb2.Side]) -> None:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper() + "_"
    assert [prefix + member for member in kind] == list(wire.keys())


def test_what_a_newer_server_knows_does_not_break_this_client() -> None:
    wire = orders_pb2.Order(
        side=99, status=99, reject_reason=999, qty="1", cum_qty="0", leaves_qty="1", cum_notional="0", cum_fee="0"
    )  # type: ignore[arg-type]
    order = convert.order(wire)
    assert order.side is models.Side.UNSPECIFIED
    assert order.status is models.OrderStatus.UNSPECIFIED
    assert order.reject_reason == "999"


WIRE_DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,18})?")


@given(st.decimals(min_value=-(10**19), max_value=10**19, places=18))
def test_numbers_go_out_exactly_and_canonically(value: Decimal) -> None:
    text = convert.decimal_text("qty", value)
    assert WIRE_DECIMAL.fullmatch(text)
    assert Decimal(text) == value
    assert text == convert.decimal_text("qty", text)
    assert not text.endswith(".")
    assert not (("." in text) and text.endswith("0"))
    assert text != "-0"


@pytest.mark.parametrize(("value", "text"), [("1E+3", "1000"), ("1e-8", "0.00000001"), ("-0.00", "0"), (100, "100")])
def test_exponents_and_zeros_are_written_out(value: str | int, text: str) -> None:
    assert convert.decimal_text("qty", value) == text


@pytest.mark.parametrize("name", sorted(path.name for path in (SDK / "tradewind/_async").glob("[!_]*.py")))
def test_the_blocking_client_is_the_twin_of_the_asyncio_one(name: str) -> None:
    source = (SDK / "tradewind/_async" / name).read_text()
    generated = (SDK / "tradewind/_sync" / name).read_text()
    assert generated == blocking_source(name, source), "the SDK was changed after it was built: build it again"
    code = re.sub(r'""".*?"""|#.*', "", generated, flags=re.DOTALL)
    assert not re.search(r"\b(async|await|asyncio|aio|Async\w*)\b", code)


def test_both_clients_offer_the_same() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(tradewind.Client) == public(tradewind.AsyncClient)
    assert public(tradewind.Watch) == public(tradewind.AsyncWatch)
    assert public(tradewind.OrderStream) == public(tradewind.AsyncOrderStream)


def test_every_rpc_of_the_contract_has_a_method() -> None:
    files = (system_pb2, market_data_pb2, orders_pb2, accounts_pb2, risk_pb2)
    rpcs = {method.name for file in files for s in file.DESCRIPTOR.services_by_name.values() for method in s.methods}
    streams = {
        "SubscribeMarketData": "watch_book",
        "SubscribeOrders": "watch_orders",
        "SubscribeAccount": "watch_account",
    }
    for rpc in rpcs:
        method = streams.get(rpc) or re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
        assert hasattr(tradewind.Client, method), f"no method for {rpc}"


def build(tmp_path: Path, source: Path, kind: str) -> subprocess.CompletedProcess[str]:
    """Build with the backend directly, in this environment: nothing is downloaded."""
    script = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=source, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked far from the repository."""
    tmp = tmp_path_factory.mktemp("sdist")
    done = build(tmp, SDK, "sdist")
    assert done.returncode == 0, done.stderr
    (archive,) = tmp.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp, filter="data")
    return tmp / "tradewind-0.1.0"


def test_a_wheel_built_from_the_source_distribution_works(unpacked: Path, tmp_path: Path) -> None:
    for generated in [*unpacked.glob("tradewind/v1/*_pb2*"), *unpacked.glob("tradewind/_sync/[!_]*")]:
        generated.unlink()  # nothing stale may help
    done = build(tmp_path, unpacked, "wheel")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    script = "import tradewind, tradewind.v1.orders_pb2_grpc; print(tradewind.__file__, tradewind.Client)"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=site, capture_output=True, text=True, timeout=60, check=False
    )
    assert str(site) in ran.stdout, ran.stderr
    assert (site / "tradewind/py.typed").exists()
    assert (site / "tradewind/v1/orders_pb2_grpc.pyi").exists()


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_a_broken_contract_fails_the_build(unpacked: Path, tmp_path: Path, kind: str) -> None:
    broken = unpacked / "proto/tradewind/v1/broken.proto"
    broken.write_text("syntax = nonsense")
    try:
        done = build(tmp_path, unpacked, kind)
    finally:
        broken.unlink()
    assert done.returncode != 0
    assert "protoc failed" in done.stderr
