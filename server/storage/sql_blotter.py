"""The blotter in SQL: everything its adapters share. What differs between databases is in `SqlSession`."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from fastpath.model.enums import OrderStatus
from server.storage.blotter_rows import DIRECTORY, FORMAT, TABLES, BlotterTable
from server.storage.ports import BlotterBatch, BlotterMismatch, BlotterMoved, BlotterPage, BlotterQuery, BlotterRow

_ABOUT = "blotter"


class SqlSession(abc.ABC):
    """A connection. Statements have `?` where parameters go."""

    types: ClassVar[Mapping[str, str]]
    """Of columns: integer, text and bytes."""

    @abc.abstractmethod
    def execute(self, statement: str, parameters: Sequence[int | str] = ()) -> list[tuple[Any, ...]]:
        """Its rows, those of RETURNING included."""

    @abc.abstractmethod
    def insert(self, table: str, columns: Sequence[str], rows: list[BlotterRow], on_conflict: str) -> None:
        """Add many rows; `on_conflict` is empty where there can be none."""


class SqlBlotter(abc.ABC):
    """`BlotterStore` over an SQL database."""

    def __init__(self, epoch: str) -> None:
        """`epoch` names the journal whose rows these are."""
        self._epoch = epoch

    @abc.abstractmethod
    def _writing(self) -> AbstractContextManager[SqlSession]:
        """A transaction of the one writer. Raises Unavailable, also for what fails inside."""

    @abc.abstractmethod
    def _reading(self) -> AbstractContextManager[SqlSession]:
        """A transaction that sees one moment."""

    def cursor(self) -> int:
        with self._writing() as session:
            self._create(session)
            return self._cursor(session)

    def write(self, batch: BlotterBatch) -> None:
        with self._writing() as session:
            moved = session.execute(
                f"UPDATE {_ABOUT} SET cursor = ? WHERE cursor = ? AND epoch = ? AND format = ? RETURNING cursor",
                (batch.last_sequence, batch.after_sequence, self._epoch, FORMAT),
            )
            if not moved:
                raise BlotterMoved(f"the blotter is not at event {batch.after_sequence}")
            for name, rows in batch.directory.items():
                session.insert(name, tuple(DIRECTORY[name]), rows, "ON CONFLICT (number) DO NOTHING")
            for name, rows in batch.rows.items():
                table = TABLES[name]
                session.insert(name, tuple(table.columns), rows, _upsert_newest(table) if name == "orders" else "")

    def page(self, table: str, query: BlotterQuery) -> BlotterPage:
        conditions, parameters = _conditions(TABLES[table], query)
        with self._reading() as session:
            cursor = self._cursor(session)
            found = session.execute(
                f"SELECT record FROM {table} WHERE {conditions} ORDER BY {TABLES[table].key} DESC LIMIT ?",
                (*parameters, query.limit),
            )
        return BlotterPage([bytes(record) for (record,) in found], cursor)

    def clear(self) -> None:
        with self._writing() as session:
            session.execute("DROP VIEW IF EXISTS breaches")
            for name in (*TABLES, *DIRECTORY, _ABOUT):
                session.execute(f"DROP TABLE IF EXISTS {name}")
            self._create(session)

    def _create(self, session: SqlSession) -> None:
        """Make what is missing."""
        number, text = session.types["integer"], session.types["text"]
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {_ABOUT} (id {number} PRIMARY KEY CHECK (id = 1),"
            f" format {number} NOT NULL, epoch {text} NOT NULL, cursor {number} NOT NULL)"
        )
        if session.execute(f"SELECT 1 FROM {_ABOUT}"):
            return
        for statement in _schema(session.types):
            session.execute(statement)
        session.execute(f"INSERT INTO {_ABOUT} VALUES (1, ?, ?, 0)", (FORMAT, self._epoch))

    def _cursor(self, session: SqlSession) -> int:
        ((format_, epoch, cursor),) = session.execute(f"SELECT format, epoch, cursor FROM {_ABOUT}")
        if (format_, epoch) != (FORMAT, self._epoch):
            what = f"has format {format_}, not {FORMAT}" if epoch == self._epoch else "belongs to another journal"
            raise BlotterMismatch(f"the blotter {what}: make it again with `tradewind blotter rebuild`")
        return int(cursor)


def _schema(types: Mapping[str, str]) -> Iterator[str]:
    for name, names in DIRECTORY.items():
        fields = ", ".join(f"{column} {types[kind]} NOT NULL" for column, kind in names.items())
        yield f"CREATE TABLE {name} ({fields}, PRIMARY KEY (number))"
    for name, table in TABLES.items():
        fields = ", ".join(f"{column} {types[kind]} NOT NULL" for column, kind in table.columns.items())
        yield f"CREATE TABLE {name} ({fields}, PRIMARY KEY ({table.key}))"
        for at, columns in enumerate(table.indexes):
            yield f"CREATE INDEX {name}_{at} ON {name} ({columns})"
    yield f"CREATE VIEW breaches AS SELECT * FROM orders WHERE status = {int(OrderStatus.ORDER_STATUS_REJECTED)}"


def _upsert_newest(table: BlotterTable) -> str:
    news = ", ".join(f"{column} = excluded.{column}" for column in table.columns if column != table.key)
    return f"ON CONFLICT ({table.key}) DO UPDATE SET {news}"


def _conditions(table: BlotterTable, query: BlotterQuery) -> tuple[str, list[int]]:
    """The WHERE of a query, and its parameters."""
    terms: list[str] = ["account = ?"]
    parameters: list[int] = [query.account]
    for column, allowed in (("instrument", query.instruments), ("status", query.statuses)):
        if allowed is not None:
            terms.append(f"{column} IN ({', '.join('?' * len(allowed))})")
            parameters += sorted(allowed)
    for term, value in (
        ("order_id = ?", query.order_id),
        ("asset = ?", query.asset),
        ("time_ns >= ?", query.start_ns),
        ("time_ns < ?", query.end_ns),
    ):
        if value:
            terms.append(term)
            parameters.append(value)
    if query.before is not None:
        terms.append(f"{table.key} < ?")
        parameters.append(query.before)
    return " AND ".join(terms), parameters
