"""Logs: one form for all of the process, with the request id of the call they belong to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from server.config import LogSettings
from server.observability import REQUEST_ID, configure_logging


@contextmanager
def logs(settings: LogSettings) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    configure_logging(settings, stream)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)


def test_every_line_is_json_whoever_wrote_it() -> None:
    with logs(LogSettings(format="json")) as stream:
        token = REQUEST_ID.set("r-1")
        structlog.get_logger("rpc").warning("from structlog", venue="okx")
        logging.getLogger("server.feeds").warning("from %s", "logging")
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("server.engine").exception("failed")
        REQUEST_ID.reset(token)
        logging.getLogger("aiohttp").info("chatter")
        structlog.get_logger("rpc").debug("too much")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["from structlog", "from logging", "failed"]
    assert all(line["request_id"] == "r-1" and line["timestamp"] for line in lines)
    assert lines[1]["logger"] == "server.feeds"
    assert "ValueError: broken" in lines[2]["exception"]


def test_levels_are_kept_and_a_console_gets_plain_text() -> None:
    with logs(LogSettings(format="console", level="error")) as stream:
        structlog.get_logger("rpc").warning("unimportant")
        logging.getLogger("server.feeds").warning("unimportant")
        structlog.get_logger("rpc").error("important", venue="okx")
    assert "unimportant" not in stream.getvalue()
    assert "important" in stream.getvalue()
    assert "venue=okx" in stream.getvalue()
