"""The vocabulary: the same numbers in the compiled core, in its type stub and in the wire contract."""

from __future__ import annotations

import ast
from enum import IntEnum
from pathlib import Path

import pytest

from fastpath.model import enums as model
from tradewind.v1 import accounts_pb2, common_pb2, market_data_pb2, orders_pb2

STUB = Path(__file__).resolve().parents[2] / "fastpath" / "model" / "enums.pyi"


def stub_enumerations() -> dict[str, dict[str, int]]:
    found = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                item.targets[0].id: item.value.value
                for item in node.body
                if isinstance(item, ast.Assign)
                and isinstance(item.targets[0], ast.Name)
                and isinstance(item.value, ast.Constant)
            }
    return found


def compiled_enumerations() -> dict[str, dict[str, int]]:
    return {
        name: {member: int(number) for member, number in value.__members__.items()}
        for name, value in vars(model).items()
        if isinstance(value, type) and issubclass(value, IntEnum)
    }


@pytest.mark.once
def test_the_stub_says_what_is_compiled() -> None:
    assert stub_enumerations() == compiled_enumerations()


WIRE = {
    name: enum
    for file in (common_pb2, market_data_pb2, orders_pb2, accounts_pb2)
    for name, enum in file.DESCRIPTOR.enum_types_by_name.items()
}


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(set(WIRE) & set(compiled_enumerations())))
def test_the_wire_contract_uses_the_same_numbers(name: str) -> None:
    compiled = compiled_enumerations()[name]
    wire = {value.name: value.number for value in WIRE[name].values}
    assert wire.items() <= compiled.items()


@pytest.mark.once
def test_the_enumerations_that_must_agree_are_compared() -> None:
    shared = set(WIRE) & set(compiled_enumerations())
    assert {"Side", "OrderType", "TimeInForce", "OrderStatus", "RejectReason", "CancelReason", "AccountMode"} <= shared


@pytest.mark.once
def test_a_refusal_has_a_name_on_the_wire_for_every_reason_of_the_core() -> None:
    wire = {value.name for value in WIRE["RejectReason"].values}
    assert set(compiled_enumerations()["RejectReason"]) == wire
