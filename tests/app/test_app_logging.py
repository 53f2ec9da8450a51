"""Logs: one form for all of the process, with the request id of the call they belong to."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from server.base.errors import ConfigError
from server.process.log_stream import LogStream
from server.process.observability import REQUEST_ID, configure_logging
from server.process.settings import LogSettings


@contextmanager
def logs(settings: LogSettings, to: io.StringIO | None = None) -> Iterator[io.StringIO]:
    """What is logged, unless the settings name a file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = to or io.StringIO()
    configure_logging(settings, None if settings.file else stream)
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


def test_a_log_file_begins_anew_when_it_is_full_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "log" / "tradewind.log"
    with logs(LogSettings(format="json", file=path, file_bytes=1 << 16, file_keep=2)):
        for number in range(3_000):
            structlog.get_logger("rpc").warning("something happened", number=number)
    files = [path.with_name(f"{path.name}.2"), path.with_name(f"{path.name}.1"), path]
    assert sorted(path.parent.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1 << 16 for file in files)
    numbers = [json.loads(line)["number"] for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 3_000)), "the newest, whole and in order"


def test_a_log_file_that_cannot_be_written_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"logging\.file"):
        configure_logging(LogSettings(file=tmp_path / "file" / "log"))


class FullDisk(io.StringIO):
    """A file on a disk that is full as long as it is."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_line_that_cannot_be_written_is_counted_and_nothing_is_raised() -> None:
    disk = FullDisk()
    with logs(LogSettings(format="json"), disk):
        structlog.get_logger("rpc").warning("before")
        disk.full = True
        for _ in range(2):
            structlog.get_logger("rpc").warning("lost")
            logging.getLogger("server.engine").error("lost, too")
        disk.full = False
        structlog.get_logger("rpc").warning("after")
    events = [json.loads(line)["event"] for line in disk.getvalue().splitlines()]
    assert events == ["before", "4 log lines could not be written", "after"]


def test_a_reader_that_is_gone_does_not_end_the_log() -> None:
    reader, writer = os.pipe()
    pipe = os.fdopen(writer, "w")
    stream = LogStream(pipe, as_json=False)
    os.close(reader)
    print("nobody reads this", file=stream, flush=True)
    assert stream.lines_lost == 1
    with contextlib.suppress(OSError):
        pipe.close()
