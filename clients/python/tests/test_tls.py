"""A server behind TLS is trusted by its authority's certificate, and by nothing less."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import tradewind
from clients.python.tests.scripted import ScriptedServer
from tradewind import errors
from tradewind.v1 import system_pb2


def self_signed() -> tuple[bytes, bytes]:
    """(certificate, key) of 127.0.0.1, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[ScriptedServer, Path]]:
    certificate, key = self_signed()
    server = ScriptedServer(credentials=grpc.ssl_server_credentials([(key, certificate)]))
    server.on("GetInfo", lambda call: system_pb2.GetInfoResponse(version="over TLS"))
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(certificate)
    yield server, ca_file
    server.stop()


async def test_both_clients_connect_over_tls(secure: tuple[ScriptedServer, Path]) -> None:
    server, ca_file = secure
    with tradewind.Client(server.address, "t", ca_file=ca_file) as client:
        assert client.get_info().version == "over TLS"
    async with tradewind.AsyncClient(server.address, "t", ca_file=ca_file) as client:
        assert (await client.get_info()).version == "over TLS"
    assert server.calls["GetInfo"][0].metadata["authorization"] == "Bearer t"


@pytest.mark.parametrize("options", [{"tls": True}, {}])
def test_an_authority_nobody_vouches_for_gets_no_token(
    secure: tuple[ScriptedServer, Path], options: dict[str, bool]
) -> None:
    server, _ = secure
    with tradewind.Client(server.address, "t", **options) as client, pytest.raises(errors.Unavailable):  # type: ignore[arg-type]
        client.get_info()
    assert not server.calls
