"""The table of status codes, and what travels with an error."""

from __future__ import annotations

import inspect
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from server.base import errors
from server.rpc.status import CODES, code_of, to_status

CLASSES = [
    thing for _, thing in inspect.getmembers(errors, inspect.isclass) if issubclass(thing, errors.TradewindError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_row(kind: type[errors.TradewindError]) -> None:
    assert kind in CODES, f"{kind.__name__} needs a row in server/rpc/status.py"


def test_reasons_are_unique_and_spelled_as_constants() -> None:
    reasons = [kind.reason for kind in CLASSES]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper() and reason.replace("_", "").isalnum() for reason in reasons)


def test_nothing_maps_to_unknown_and_only_faults_of_the_server_to_internal() -> None:
    assert grpc.StatusCode.UNKNOWN not in CODES.values()
    internal = {kind for kind, code in CODES.items() if code is grpc.StatusCode.INTERNAL}
    assert internal == {errors.TradewindError, errors.ConfigError}


def test_a_class_without_a_row_gets_the_nearest_one_above() -> None:
    class Newer(errors.JournalFailed):
        reason = "NEWER"

    assert code_of(Newer("x")) is grpc.StatusCode.UNAVAILABLE


def details(error: errors.TradewindError) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in to_status(error, "r-1").details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.QuotaFailure,
            error_details_pb2.RequestInfo,
        ):
            message = kind()
            if packed.Unpack(message):
                found[kind.__name__] = message
    return found


def test_a_malformed_request_names_its_fields_and_their_reasons() -> None:
    error = errors.InvalidRequest(
        [errors.FieldViolation("price", "off the tick", "PRICE_NOT_ON_TICK"), errors.FieldViolation("qty", "negative")]
    )
    info = details(error)
    assert info["ErrorInfo"].reason == "INVALID_REQUEST"  # type: ignore[attr-defined]
    assert info["ErrorInfo"].domain == "tradewind"  # type: ignore[attr-defined]
    violations = info["BadRequest"].field_violations  # type: ignore[attr-defined]
    assert [(v.field, v.reason) for v in violations] == [("price", "PRICE_NOT_ON_TICK"), ("qty", "")]
    single = errors.InvalidRequest.of("price", "off the tick", reason="PRICE_NOT_ON_TICK")
    assert details(single)["ErrorInfo"].reason == "PRICE_NOT_ON_TICK"  # type: ignore[attr-defined]


def test_what_can_be_waited_for_says_how_long() -> None:
    info = details(errors.QuotaExceeded("too much"))
    assert info["RetryInfo"].retry_delay.ToMilliseconds() == 1000  # type: ignore[attr-defined]
    assert info["QuotaFailure"].violations[0].description == "too much"  # type: ignore[attr-defined]
    assert "RetryInfo" in details(errors.QueueFull("full"))
    assert "RetryInfo" not in details(errors.NotFound("order", "1"))


def test_an_error_fits_into_headers_whatever_a_client_sent() -> None:
    nasty = "\U0001f4a9\n" * 10_000
    error = errors.InvalidRequest([errors.FieldViolation(nasty, nasty, "TOO_LONG") for _ in range(1000)])
    error.metadata = {f"key{i}": nasty for i in range(100)}
    status = to_status(error, "r-1")
    assert len(status.SerializeToString()) * 4 / 3 + len(status.message) < 8192
    assert status.message.isascii()


def test_every_reason_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
    for kind in CLASSES:
        code = CODES[kind].name
        rows = [line for line in text.splitlines() if line.startswith(f"| `{code}` |") and f"`{kind.reason}`" in line]
        assert rows, f"docs/api.md needs {kind.reason} in a row of {code}"
