"""What the player and the server need of a venue, and what all three venues share."""

from __future__ import annotations

import gzip
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.base.clock import Clock
from server.replay.frame import Frame
from server.replay.session import Session

# Up to the quantity of a level.
_QUANTITY = re.compile(r'\["[0-9.]+","')


@dataclass(frozen=True, slots=True)
class Reply:
    """A REST answer: HTTP status and JSON body."""

    status: int
    body: bytes


def ok(value: object) -> Reply:
    return Reply(200, orjson.dumps(value))


def dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def market_file(path: Path) -> bytes:
    """A recorded REST body with market metadata."""
    return gzip.decompress(path.read_bytes())


class Venue(ABC):
    """One exchange: its recorded frames, the state they build, its WebSocket and its REST dialect.

    The player drives it (`begin_pass`, then `play` for each of `frames`); the server hands it what clients
    send. Everything runs on one event loop, so a snapshot taken in a handler fits the deltas which follow.
    """

    name: str

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sessions: set[Session] = set()
        self.subscribers: dict[str, set[Session]] = {}
        self.on_subscribed: Callable[[], None] = lambda: None
        self.drop_depth = 0
        """Fault: how many of the next depth pushes get lost on their way to the subscribers."""
        self.corrupt_depth = 0
        """Fault: in how many of the next depth pushes all quantities are wrong."""

    # -- the recording ---------------------------------------------------------------------------------

    @abstractmethod
    def instruments(self) -> list[str]:
        """What is recorded, in the venue's own names."""

    @property
    @abstractmethod
    def start_ns(self) -> int:
        """Start of the recording on its own time line."""

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames of one pass in the order of their time."""

    @abstractmethod
    def begin_pass(self, number: int, now_ms: int) -> None:
        """Bring the state to the start of the recording; from pass 1 on, tell the subscribers how."""

    @abstractmethod
    def play(self, frame: Frame, shift_ms: int) -> None:
        """Apply a frame to the state and send it, its times moved by `shift_ms`."""

    # -- the clients -----------------------------------------------------------------------------------

    def opened(self, session: Session, host: str, path: str, query: Mapping[str, str]) -> None:
        """A client connected at `path`; `host` is the first segment of its URL (the venue's host name)."""
        self.sessions.add(session)

    def closed(self, session: Session) -> None:
        self.sessions.discard(session)
        for topic in list(session.topics):
            self.unsubscribe(session, topic)

    @abstractmethod
    def received(self, session: Session, text: str) -> None:
        """A client sent `text`; answers go to its outbox."""

    @abstractmethod
    def rest(self, host: str, path: str, query: Mapping[str, str]) -> Reply:
        """Answer a GET."""

    @abstractmethod
    def too_many_requests(self) -> Reply:
        """The venue's own answer to a client which is over its rate limit."""

    # -- topics ----------------------------------------------------------------------------------------

    def subscribe(self, session: Session, topic: str, name: str) -> None:
        session.topics[topic] = name
        self.subscribers.setdefault(topic, set()).add(session)
        self.on_subscribed()

    def unsubscribe(self, session: Session, topic: str) -> None:
        session.topics.pop(topic, None)
        sessions = self.subscribers.get(topic, set())
        sessions.discard(session)
        if not sessions:
            self.subscribers.pop(topic, None)

    def publish(self, topic: str, text: str, *, depth: bool = False) -> None:
        sessions = self.subscribers.get(topic)
        if not sessions:
            return
        if depth and self.drop_depth > 0:
            self.drop_depth -= 1
            return
        if depth and self.corrupt_depth > 0:
            self.corrupt_depth -= 1
            text = _QUANTITY.sub(r"\g<0>9", text)
        for session in sessions:
            session.push(self.adapt(session, topic, text))

    def adapt(self, session: Session, topic: str, text: str) -> str:
        """The text adapted to the client's connection."""
        return text
