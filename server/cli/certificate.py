"""TLS to a server on this machine, verified with the server's own certificate."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def reachable(address: str) -> str:
    """Where a server that listens on `address` is reached from its own machine."""
    host, _, port = address.rpartition(":")
    return f"{_EVERY_INTERFACE.get(host, host)}:{port}"


def name_in_certificate(address: str, certificate: Path) -> str:
    """A name that the certificate of the server on `address` is for. The server must prove that it is the one in the
    file. Raises OSError, also where nobody answers, and ValueError for a certificate without a name."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name is what is asked for
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file may hold only what its authority signed
    context.load_verify_locations(cafile=certificate)
    with (
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S) as connection,
        context.wrap_socket(connection) as secured,
    ):
        shown: Any = secured.getpeercert() or {}
    names = [name for _, name in shown.get("subjectAltName", ())]
    names += [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    if not names:
        raise ValueError(f"{certificate} is for no name: make one with a subjectAltName")
    return str(names[0]).replace("*", "any")
