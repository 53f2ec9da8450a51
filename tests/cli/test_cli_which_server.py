"""Which server a command talks to, and with which token: what is named is used, or it is an error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.python.tests.scripted import ScriptedServer
from server.process.lifecycle import InstanceLock
from tests.support.command_line import nothing_named, runner
from tradewind.connection import is_same_machine
from tradewind.v1 import orders_pb2


class Place:
    """A server that runs on a data directory and holds its token."""

    def __init__(
        self, data_dir: Path, listens: bool = True, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.data_dir = data_dir
        self.lock = InstanceLock(data_dir)
        self.server = ScriptedServer(credentials=credentials)
        self.server.on("CancelOrders", lambda call: orders_pb2.CancelOrdersResponse(canceled_count=1))
        (data_dir / "admin.token").write_text(f"token-of-{data_dir.name}\n")
        if listens:
            self.lock.announce(self.server.address)

    @property
    def tokens(self) -> list[str]:
        """The tokens of the calls it got."""
        return [str(call.metadata["authorization"]).removeprefix("Bearer ") for call in self.server.calls["CancelOrders"]]

    def end(self) -> None:
        self.server.stop()
        self.lock.release()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """A server on `var` of the current folder: the one that must not be taken for another."""
    nothing_named(monkeypatch, tmp_path)
    place = Place(Path("var"))
    yield place
    place.end()


@pytest.fixture
def other(here: Place) -> Iterator[Place]:
    place = Place(Path("other"))
    yield place
    place.end()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    return runner(capsys)


CANCEL = ("cancel", "--all")


def test_the_server_of_this_folder_is_found(here: Place, run: Any) -> None:
    assert run(*CANCEL).status == 0
    assert here.tokens == ["token-of-var"]


@pytest.mark.parametrize("how", ["option", "environment", "settings"])
def test_a_named_directory_without_a_server_is_an_error(
    here: Place, run: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("TRADEWIND_DATA_DIR", "nothing")
    elif how == "settings":
        Path("tradewind.toml").write_text('data_dir = "nothing"\n')
    ran = run(*(("--data-dir", "nothing") if how == "option" else ()), *CANCEL)
    assert ran.status == 1
    assert ran.err.startswith("error: no server runs on the data directory nothing. Start one with: tradewind up")
    assert here.tokens == []


def test_a_named_directory_whose_server_still_starts_is_an_error(here: Place, run: Any) -> None:
    starting = Place(Path("starting"), listens=False)
    try:
        ran = run("--data-dir", "starting", *CANCEL)
    finally:
        starting.end()
    assert ran.status == 1
    assert "is still starting" in ran.err
    assert here.tokens == []


def test_a_typed_directory_counts_more_than_an_address_of_the_environment(
    here: Place, other: Place, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_ADDRESS", here.server.address)
    assert run("--data-dir", "other", *CANCEL).status == 0
    assert (here.tokens, other.tokens) == ([], ["token-of-other"])


def test_an_address_and_a_directory_of_different_servers_are_an_error(
    here: Place, other: Place, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("--data-dir", "other", "--address", here.server.address, *CANCEL)
    assert (ran.status, "two servers are named" in ran.err) == (1, True)
    monkeypatch.setenv("TRADEWIND_ADDRESS", here.server.address)
    monkeypatch.setenv("TRADEWIND_DATA_DIR", "other")
    assert run(*CANCEL).status == 1
    assert (here.tokens, other.tokens) == ([], [])


def test_a_typed_address_counts_more_than_a_directory_of_the_environment(
    here: Place, other: Place, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_DATA_DIR", "other")
    assert run("--address", here.server.address, *CANCEL).status == 0
    assert (here.tokens, other.tokens) == (["token-of-other"], [])  # the nearest token; the server says if it is wrong


def test_the_token_of_another_directory_is_never_taken(here: Place, other: Place, run: Any) -> None:
    (other.data_dir / "admin.token").unlink()
    ran = run("--data-dir", "other", *CANCEL)
    assert ran.status == 1
    assert "other/admin.token does not exist; name one by --token-file" in ran.err
    assert other.tokens == []


def test_a_token_of_this_machine_is_not_sent_to_another(here: Place, run: Any) -> None:
    Path("ca.pem").write_text("")
    ran = run("--address", "example.com:50051", "--ca-file", "ca.pem", *CANCEL)
    assert ran.status == 1
    assert "var/admin.token is for a server of this machine; name one by --token-file" in ran.err


@pytest.mark.parametrize("named", [("--address", ""), ("--token-file", "empty"), ("--address", "127.0.0.1:no")])
def test_what_is_named_and_empty_is_an_error(here: Place, run: Any, named: tuple[str, ...]) -> None:
    Path("empty").write_text("\n")
    assert run(*named, *CANCEL).status == 1
    assert here.tokens == []


def certificates(name: str, authority: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """(certificate, key) for `name`; of an authority, or of one of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority[0].subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .sign(authority[1] if authority else key, hashes.SHA256())
    )
    return made, key


@pytest.mark.parametrize("signed_by", ["itself", "an authority"])
def test_a_server_for_other_machines_is_found_on_its_own(here: Place, run: Any, signed_by: str) -> None:
    authority = certificates("Some Authority")
    certificate, key = certificates("trading.example.com", authority if signed_by == "an authority" else None)
    pem, private = (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    Path("cert.pem").write_bytes(pem)
    Path("other.pem").write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
    place = Place(Path("secure"), credentials=grpc.ssl_server_credentials([(private, pem)]))
    place.lock.announce(f"0.0.0.0:{place.server.port}", Path("cert.pem"))
    try:
        assert run("--data-dir", "secure", *CANCEL).status == 0
        assert run("--data-dir", "secure", "--ca-file", "cert.pem", *CANCEL).status == 0
        assert place.tokens == ["token-of-secure"] * 2
        if signed_by == "itself":
            refused = run("--data-dir", "secure", "--ca-file", "other.pem", *CANCEL)
            assert (refused.status, "not signed by the authority in --ca-file" in refused.err) == (1, True)
        named = run("--address", place.server.address, "--ca-file", "cert.pem", *CANCEL)
        assert (named.status, "use a name that is in it" in named.err) == (1, True)
    finally:
        place.end()


def test_the_own_name_of_this_machine_is_this_machine_where_tls_proves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "trader")
    assert is_same_machine("trader:50051", tls=True)
    assert not is_same_machine("trader:50051", tls=False)
    assert not is_same_machine("other:50051", tls=True)


@pytest.mark.parametrize(
    "command", [("down",), ("up",), ("token", "show"), ("journal", "verify"), ("blotter", "rebuild"), ("backup", "f")]
)
def test_a_command_on_a_directory_does_not_pass_over_a_named_server(
    here: Place, run: Any, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, value in (("--address", "127.0.0.1:1"), ("--token-file", "t"), ("--ca-file", "c")):
        ran = run(option, value, *command)
        assert ran.status == 2
        assert f"Invalid value for {option}: this command works on a data directory" in ran.err
    monkeypatch.setenv("TRADEWIND_ADDRESS", "127.0.0.1:1")
    if command != ("up",):  # which starts a server: where clients look for one is nothing to it
        assert run(*command).status == 2
