"""Real servers for tests and benchmarks: PostgreSQL, Redis and ClickHouse on free loopback ports, in directories of
their own, ended by their process id. Nothing that runs on the machine as a service is touched.
"""

from __future__ import annotations

import abc
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

START_TIMEOUT_S = 30.0
HOW_TO_INSTALL = "run tests/install-servers as root (Debian packages), or install it by other means"


class ServerAbsent(Exception):
    """The server's program is not installed."""


def find_program(name: str) -> str | None:
    """Path of a server's program; Debian keeps PostgreSQL's outside PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(candidates[-1]) if candidates else None
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalServer(abc.ABC):
    """A server process that can be stopped, killed and started again on the same port and data."""

    program = ""
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        path = find_program(self.program)
        if path is None:
            raise ServerAbsent(f"{self.program} is not installed: {HOW_TO_INSTALL}")
        self.path = path
        self.directory = directory
        self.port = free_port()
        self.user: str | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """How clients reach it."""

    @abc.abstractmethod
    def arguments(self) -> list[str]:
        """Of its command line."""

    def is_ready(self) -> bool:
        """Whether it answers."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def start(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                with (self.directory / "output.log").open("ab") as output:
                    self.process = subprocess.Popen(
                        [*self._as_user(), self.path, *self.arguments()],
                        cwd=self.directory,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                    )
            if self.is_ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.program} did not start:\n" + (self.directory / "output.log").read_text()[-2000:])

    def _as_user(self) -> list[str]:
        """A program in front, not Popen's `user`: with that Popen forks, which a process that uses gRPC may not survive."""
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"] if self.user else []

    def stop(self) -> None:
        """End it in good order."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it at once, as a power cut would, with its children: PostgreSQL's would go on answering for a moment."""
        is_running = self.process is not None and self.process.poll() is None
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process and is_running else []
        self._end(signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=20)

    def freeze(self) -> None:
        """Keep its connections open and answer nothing, until `thaw`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


class PostgresServer(LocalServer):
    program = "postgres"
    stop_signal = signal.SIGINT
    """A fast shutdown: sessions are ended, not waited for."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        if os.geteuid() == 0:
            self.user = "postgres"
            account = pwd.getpwnam(self.user)
            os.chown(directory, account.pw_uid, account.pw_gid)
        initdb = Path(self.path).resolve().with_name("initdb")
        subprocess.run(
            [initdb, "-D", directory / "data", "-U", "tradewind", "--auth=trust", "--no-sync", "-E", "UTF8"],
            check=True,
            user=self.user,
            group=self.user,
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        return f"postgresql://tradewind@127.0.0.1:{self.port}/postgres"

    def arguments(self) -> list[str]:
        return [
            "-D", str(self.directory / "data"), "-k", str(self.directory), "-h", "127.0.0.1", "-p", str(self.port),
            "-c", "max_connections=50", "-c", "shared_buffers=32MB",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        import psycopg

        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False


class RedisServer(LocalServer):
    program = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def arguments(self) -> list[str]:
        return ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


CLICKHOUSE_CONFIG = """<yandex>
  <logger><level>warning</level><log>{directory}/log</log><errorlog>{directory}/errors</errorlog></logger>
  <tcp_port>{port}</tcp_port><listen_host>127.0.0.1</listen_host>
  <path>{directory}/data/</path><tmp_path>{directory}/tmp/</tmp_path>
  <users_config>{directory}/users.xml</users_config>
  <default_profile>default</default_profile><default_database>default</default_database>
  <mark_cache_size>67108864</mark_cache_size>
</yandex>
"""
CLICKHOUSE_USERS = """<yandex>
  <profiles><default/></profiles><quotas><default/></quotas>
  <users><default>
    <password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
  </default></users>
</yandex>
"""


class ClickHouseServer(LocalServer):
    program = "clickhouse-server"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "config.xml").write_text(CLICKHOUSE_CONFIG.format(directory=directory, port=self.port))
        (directory / "users.xml").write_text(CLICKHOUSE_USERS)

    @property
    def url(self) -> str:
        return f"clickhouse://default@127.0.0.1:{self.port}/default"

    def arguments(self) -> list[str]:
        return [f"--config-file={self.directory}/config.xml"]


SERVERS: dict[str, type[LocalServer]] = {
    "postgresql": PostgresServer,
    "redis": RedisServer,
    "clickhouse": ClickHouseServer,
}


@contextmanager
def running(name: str) -> Iterator[LocalServer]:
    """A fresh server, ended and removed afterwards. Raises ServerAbsent."""
    directory = Path(tempfile.mkdtemp(prefix=f"tradewind-{name}-"))
    try:
        server = SERVERS[name](directory)
        server.start()
        try:
            yield server
        finally:
            server.thaw()
            server.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
