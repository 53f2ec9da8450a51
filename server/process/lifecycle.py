"""Status board, lock of the data directory, stop signals. Knows no transport."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import logging
import os
import signal
import time
from asyncio import AbstractEventLoop, Event
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from server.base.background import FailureListener
from server.base.clock import Clock
from server.base.errors import ConfigError

PID_FILE = "tradewind.pid"
_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.02

_log = logging.getLogger(__name__)


class ServiceState(enum.IntEnum):
    """State of a part; the numbers are those of the wire contract."""

    STARTING = 1
    SERVING = 2
    DEGRADED = 3
    """Works in part; the detail says what is missing."""
    NOT_SERVING = 4


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One part of the server: a storage or engine part, a gRPC service by its full name, or `feed/<venue>`."""

    name: str
    state: ServiceState
    detail: str
    since_ns: int
    """When the state last changed, nanoseconds since the epoch."""
    progress: tuple[int, int] | None = None
    """(done, total) while something long runs, such as a recovery."""


StatusListener = Callable[[ServiceStatus], None]


class StatusBoard:
    """The state of every part, in the order they were first named. Belongs to the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._statuses: dict[str, ServiceStatus] = {}
        """As they are shown."""
        self._said: dict[str, ServiceStatus] = {}
        """As their parts said."""
        self._failures: dict[str, dict[object, str]] = {}
        """By part: why background work of it has ended."""
        self._listeners: list[StatusListener] = []
        self.stopping = False
        """Whether the whole server is about to stop: nothing comes back to SERVING."""

    def set(self, name: str, state: ServiceState, detail: str = "", *, progress: tuple[int, int] | None = None) -> None:
        """Set the state of the part `name` and call the listeners if it changed. Never raises: a failing listener must
        not stop the part."""
        if self.stopping and state is not ServiceState.NOT_SERVING:
            return
        self._said[name] = ServiceStatus(name, state, detail, 0, progress)
        self._show(name)

    def failure_listener(self, name: str) -> FailureListener:
        """A listener for background work of the part `name`: after a failure the part is NOT_SERVING until the work
        runs again."""
        work = object()

        def tell(reason: str | None) -> None:
            failures = self._failures.setdefault(name, {})
            if reason is None:
                if failures.pop(work, None) is None:
                    return
            else:
                failures[work] = reason
            self._said.setdefault(name, ServiceStatus(name, ServiceState.SERVING, "", 0))
            if not self.stopping:
                self._show(name)

        return tell

    def _show(self, name: str) -> None:
        new, old = self._said[name], self._statuses.get(name)
        if not self.stopping and (failure := next(iter(self._failures.get(name, {}).values()), None)) is not None:
            new = replace(new, state=ServiceState.NOT_SERVING, detail=failure, progress=None)
        since_ns = old.since_ns if old is not None and old.state is new.state else self._clock.now_ns()
        new = replace(new, since_ns=since_ns)
        if new == old:
            return
        self._statuses[name] = new
        for listener in tuple(self._listeners):
            try:
                listener(new)
            except Exception:
                _log.exception("a listener of the status board failed")

    def stop(self, detail: str) -> None:
        """Every part is NOT_SERVING from now on."""
        self.stopping = True
        for name in tuple(self._statuses):
            self.set(name, ServiceState.NOT_SERVING, detail)

    def get(self, name: str) -> ServiceStatus | None:
        return self._statuses.get(name)

    def all(self) -> list[ServiceStatus]:
        return list(self._statuses.values())

    @property
    def starting(self) -> bool:
        """Whether any part is still STARTING."""
        return any(status.state is ServiceState.STARTING for status in self._statuses.values())

    def listen(self, listener: StatusListener) -> Callable[[], None]:
        """Call `listener` on every change from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


@dataclass(frozen=True, slots=True)
class RunningInstance:
    """A server that runs on a data directory."""

    pid: int
    address: str
    """host:port of its gRPC server; empty while it starts."""
    certificate: Path | None = None
    """The one it shows, if it speaks TLS."""


class InstanceLock:
    """One server a data directory: `tradewind.pid` names it, and is locked as long as its process lives."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock. Raises ConfigError naming the process that has it, or why the directory cannot be used."""
        path = data_dir / PID_FILE
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the data directory {data_dir} cannot be written ({error.strerror}): choose another with --data-dir"
            ) from None
        if not _take(self._fd):
            os.close(self._fd)
            other = _read(path)
            who = f"process {other.pid}" + (f" on {other.address}" if other.address else "") if other else "a process"
            raise ConfigError(
                f"a server already runs on {data_dir} ({who}): stop it with `tradewind down`,"
                " or choose another directory with --data-dir"
            )
        self.announce("")

    def announce(self, address: str, certificate: Path | None = None) -> None:
        """Write where the server listens, and with which certificate, into the file."""
        shown = "" if certificate is None else certificate.absolute()
        text = f"{os.getpid()}\n{address}\n{shown}\n".encode()
        os.pwrite(self._fd, text, 0)  # first, so that who reads meanwhile finds the first lines whole
        os.ftruncate(self._fd, len(text))

    def release(self) -> None:
        # Emptied, not removed: removing a locked file lets two processes lock two files of the same name.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def running_instance(data_dir: Path) -> RunningInstance | None:
    """The server that runs on `data_dir` now, or None."""
    path = data_dir / PID_FILE
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(fd)
    return None


def _take(fd: int) -> bool:
    """Lock the file. Several tries, because `running_instance` holds the lock for a moment while it looks."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False


def _read(path: Path) -> RunningInstance | None:
    pid, address, certificate, *_ = [*path.read_text().split("\n"), "", ""]
    return RunningInstance(int(pid), address, Path(certificate) if certificate else None) if pid.isdigit() else None


@contextlib.contextmanager
def stop_on_signals(loop: AbstractEventLoop, stop: Event, stop_hard: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; a second SIGINT calls `stop_hard`."""

    def interrupted() -> None:
        if stop.is_set():
            stop_hard()
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
