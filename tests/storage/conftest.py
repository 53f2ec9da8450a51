"""The servers the stores are tested against: real ones, started here, one of each for the whole run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from loadtest.servers import ClickHouseServer, LocalServer, PostgresServer, RedisServer, ServerAbsent, running
from tests.conftest import absent


def _server(name: str) -> Iterator[LocalServer]:
    try:
        with running(name) as server:
            yield server
    except ServerAbsent as missing:
        absent(str(missing))


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalServer]:
    yield from _server("postgresql")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalServer]:
    yield from _server("redis")


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[LocalServer]:
    yield from _server("clickhouse")


_names = itertools.count(1)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty schema of its own: a journal a schema."""
    name = f"test_{next(_names)}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres.url}?options=-csearch_path%3D{name}"


@pytest.fixture
def clickhouse_url(clickhouse: ClickHouseServer) -> str:
    """A database that does not exist yet: the store creates it."""
    return f"{clickhouse.url.removesuffix('default')}test_{next(_names)}"


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A name space of its own on the shared server."""
    return f"{redis_server.url}?prefix=test{next(_names)}"
