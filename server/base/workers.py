"""Worker processes: children that do one job and exit.

A worker is a module that calls `main` with what it does. Its job comes as one line of JSON on its standard input (a URL
may hold a password, so it is no argument), what it makes goes to its standard output. On its standard error it reports
progress and the error that ended it, as lines of JSON. It runs at a lower priority, in a session of its own: Ctrl-C in a
terminal is for the server, which ends its workers itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from subprocess import PIPE
from typing import Any, BinaryIO

from server.base.errors import TradewindError, Unavailable

Progress = Callable[[int, int], None]
"""Called with (done, total) as a worker gets on; on a thread of its own."""

NICE = 10
"""Trading goes first, but leaves something: a worker that never gets on makes others wait."""
_AUTOGROUP = Path("/proc/self/autogroup")
_LAST_WORDS = 20
"""Lines of a worker's standard error that are kept."""
_STOP_S = 5.0


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` as `python -m` does, but imports nothing of the current folder (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]


class Worker:
    """The parent's end of one worker. Calls block; one thread at a time."""

    def __init__(self, module: str, job: Mapping[str, Any], on_progress: Progress = lambda done, total: None) -> None:
        """Start `module` with its job. Raises OSError if it cannot be started."""
        # Popen starts by vfork: a fork would copy the page tables of a server that may be large.
        self._process = subprocess.Popen(
            module_command(module), stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, args=(on_progress,), daemon=True)
        self._listener.start()
        with contextlib.suppress(BrokenPipeError):  # it is gone already; whoever reads from it hears why
            self.send(json.dumps(job).encode() + b"\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, *parts: bytes) -> None:
        """Write to its standard input. Raises OSError or ValueError if it ended."""
        for part in parts:
            self._input.write(part)
        self._input.flush()

    def read_line(self) -> bytes:
        """The next line of its output; empty if it ended."""
        return self._output.readline()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of its output as soon as there are any, or all of it; empty at its end."""
        return self._output.read() if size < 0 else self._output.read1(size)  # type: ignore[attr-defined]

    def check(self) -> None:
        """Wait for its end. Raises Unavailable with its last words if it failed."""
        code = self._process.wait()
        self._listener.join(_STOP_S)
        if code:
            raise Unavailable(self.last_error or f"it ended with exit code {code}")

    @property
    def last_error(self) -> str:
        """The error that ended it: its own, or the last line that it printed."""
        return self._words[-1] if self._words else ""

    def close(self) -> None:
        """End it: at the end of its input after what it is doing, or hard after a while."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_pipes()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """`kill`, and give its pipes back; nobody may be reading from it."""
        self.kill()
        self._close_pipes()

    def _close_pipes(self) -> None:
        self._listener.join(_STOP_S)
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()

    def _listen(self, on_progress: Progress) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                told = _told(line)
                if "progress" in told:
                    on_progress(*told["progress"])
                elif told["error"]:
                    self._words.append(told["error"])


def _told(line: bytes) -> dict[str, Any]:
    """What a line of a worker's standard error tells; a line that is not ours is an error, such as a traceback's last."""
    text = line.decode(errors="replace").strip()
    with contextlib.suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict) and told.keys() <= {"progress", "error"} and told:
            return told
    return {"error": text}


async def _start(module: str, job: Mapping[str, Any], on_progress: Progress = lambda done, total: None) -> Worker:
    """A worker, started from a thread. Canceled meanwhile, none is left."""
    starting = asyncio.create_task(asyncio.to_thread(Worker, module, job, on_progress))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().abandon)
        raise


async def run(
    module: str, job: Mapping[str, Any], timeout_s: float, on_progress: Progress = lambda done, total: None
) -> bytes:
    """Run one job and return its output. Cancelling ends the worker. Raises Unavailable if it fails or takes too
    long."""
    worker = await _start(module, job, on_progress)
    reading = asyncio.create_task(asyncio.to_thread(worker.read))
    try:
        output = await asyncio.wait_for(asyncio.shield(reading), timeout_s)
        await asyncio.to_thread(worker.check)
        return output
    except TimeoutError:
        raise Unavailable(f"it took longer than {timeout_s:g} s") from None
    finally:
        worker.kill()
        await asyncio.wait({reading})
        await asyncio.to_thread(worker.abandon)


async def stream(module: str, job: Mapping[str, Any], chunk_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield a worker's output in chunks of at most `chunk_bytes` as it arrives. Raises Unavailable if it fails.

    The worker waits while its chunks are not read, and ends when the generator is closed.
    """
    worker = await _start(module, job)
    reading: asyncio.Task[bytes] | None = None
    try:
        while True:
            reading = asyncio.create_task(asyncio.to_thread(worker.read, chunk_bytes))
            chunk = await asyncio.shield(reading)
            if not chunk:
                break
            yield chunk
        await asyncio.to_thread(worker.check)
    finally:
        worker.kill()
        if reading is not None:
            await asyncio.wait({reading})
        await asyncio.to_thread(worker.abandon)


# -- in the worker -------------------------------------------------------------------------------------------


def main(work: Callable[[dict[str, Any], BinaryIO, BinaryIO], None], *, nice_session: bool = False) -> int:
    """Do one job: `work` gets the job, the rest of the standard input and the standard output. Returns the exit code.

    `nice_session`: lower the priority of the session, too. Linux may share the processor between sessions before it
    looks at the processes in them; a worker whose job never ends must stand back as a session.
    """
    job = sys.stdin.buffer.readline()
    if not job:
        return 0
    os.nice(NICE)  # not before all is loaded: the server may wait for the first answer when it starts
    if nice_session:
        with contextlib.suppress(OSError):  # no Linux, or one without it
            _AUTOGROUP.write_text(str(NICE))
    try:
        work(json.loads(job), sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the server is gone: nobody hears the answer, nor what is flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TradewindError, OSError) as error:
        _tell(error=str(error))
        return 1
    return 0


def progress(done: int, total: int) -> None:
    """Tell the parent how far the job is."""
    _tell(progress=[done, total])


def _tell(**message: Any) -> None:
    print(json.dumps(message), file=sys.stderr, flush=True)
