"""Who may do what: tokens, their scopes and accounts, and the file that keeps them.

A token's secret is 256 random bits. Only its SHA-256 is stored, and tokens are found by that hash, so neither the file
nor the time of a look-up says anything about a secret. The file is rewritten atomically and readable by its owner only.
"""

from __future__ import annotations

import base64
import enum
import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.base.clock import Clock
from server.base.errors import (
    ConfigError,
    FailedPrecondition,
    FieldViolation,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)

TOKENS_FILE = "tokens.json"
ADMIN_FILE = "admin.token"
MAX_TOKENS = 1000
_SECRET_PREFIX = "tw_"
_FORMAT = 1


class Scope(enum.IntEnum):
    """What a token allows; the numbers are those of the wire contract."""

    READ = 1
    TRADE = 2
    RISK_ADMIN = 3
    ADMIN = 4


_INCLUDES: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.TRADE: frozenset({Scope.TRADE, Scope.READ}),
    Scope.RISK_ADMIN: frozenset({Scope.RISK_ADMIN, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its secret is not."""

    token_id: str
    description: str
    scopes: tuple[Scope, ...]
    accounts: frozenset[str] | None
    """Accounts it may use; None means all."""
    expire_ns: int | None
    """None: never."""
    create_ns: int

    def allows(self, scope: Scope) -> bool:
        return any(scope in _INCLUDES[held] for held in self.scopes)

    def may_use(self, account: str) -> bool:
        return self.accounts is None or account in self.accounts

    @property
    def group_owner(self) -> int:
        """Whose self-trade groups its orders name: 0 with all accounts, else the same for all tokens with these accounts."""
        return _group_owner(self.accounts) if self.accounts is not None else 0

    def expired(self, now_ns: int) -> bool:
        return self.expire_ns is not None and now_ns >= self.expire_ns

    def covers(self, other: Token) -> bool:
        """Whether nothing that `other` allows is beyond this token (its end aside)."""
        return all(self.allows(scope) for scope in other.scopes) and (
            self.accounts is None or (other.accounts is not None and other.accounts <= self.accounts)
        )


class TokenStore:
    """All tokens of a data directory. `find` is for the event loop's thread; what writes the file may run on any."""

    def __init__(self, data_dir: Path, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        """Open the tokens of `data_dir`; the first start makes a token for everything and writes its secret to
        `admin.token`. Raises ConfigError if the file cannot be read."""
        self._path = data_dir / TOKENS_FILE
        self._clock = clock
        self._random_bytes = random_bytes
        self._writing = threading.Lock()
        self._by_hash: dict[str, Token] = self._load()
        self._on_end: list[Callable[[str], None]] = []
        self.admin_path = data_dir / ADMIN_FILE
        if not self._by_hash:
            _, secret = self._add("made at the first start", (Scope.ADMIN,), None, None)
            try:
                _write_private(self.admin_path, f"{secret}\n")
            except OSError as error:
                # Without the secret the token is of no use, and no later start makes another.
                self._path.unlink(missing_ok=True)
                raise ConfigError(
                    f"{self.admin_path} cannot be written ({error.strerror}): make room, or choose another"
                    " directory with --data-dir"
                ) from None

    def find(self, secret: str) -> Token:
        """The token of this secret. Raises Unauthenticated, with no hint whether it ever existed."""
        token = self._by_hash.get(_hash(secret))
        if token is None or token.expired(self._clock.now_ns()):
            raise Unauthenticated("the token is unknown, expired or revoked: ask for a new one")
        return token

    def tokens(self, seen_by: Token) -> list[Token]:
        """Those that `seen_by` covers, oldest first."""
        return sorted(
            (token for token in self._by_hash.values() if seen_by.covers(token)),
            key=lambda token: (token.create_ns, token.token_id),
        )

    def create(
        self,
        creator: Token,
        description: str,
        scopes: Iterable[Scope],
        accounts: Iterable[str],
        expire_ns: int | None,
    ) -> tuple[Token, str]:
        """A new token that is no wider than `creator`, and its secret. No accounts: those of the creator; no
        `expire_ns`: that of the creator. Raises PermissionDenied, InvalidRequest, ResourceExhausted."""
        wanted = tuple(sorted(set(scopes)))
        wanted_accounts = frozenset(accounts) or creator.accounts
        end_ns = expire_ns if expire_ns is not None else creator.expire_ns
        if end_ns is not None and end_ns <= self._clock.now_ns():
            raise InvalidRequest([FieldViolation("expire_time", "must lie in the future", "EXPIRE_TIME_IN_PAST")])
        too_wide = [scope.name for scope in wanted if not creator.allows(scope)]
        if too_wide:
            raise PermissionDenied(f"a token cannot give what it does not hold: scope {', '.join(too_wide)}")
        if creator.accounts is not None and not (wanted_accounts or frozenset()) <= creator.accounts:
            raise PermissionDenied("a token cannot give what it does not hold: accounts beyond its own")
        if creator.expire_ns is not None and (end_ns is None or end_ns > creator.expire_ns):
            raise PermissionDenied("a token cannot live longer than the one that creates it")
        with self._writing:
            return self._add(description, wanted, wanted_accounts, end_ns)

    def revoke(self, revoker: Token, token_id: str) -> None:
        """End a token now. Raises NotFound, also for those beyond `revoker`; FailedPrecondition for the last one that
        allows everything."""
        with self._writing:
            remaining = {key: token for key, token in self._by_hash.items() if token.token_id != token_id}
            ended = [token for token in self._by_hash.values() if token.token_id == token_id]
            if not ended or not revoker.covers(ended[0]):
                raise NotFound("token", token_id)
            if not any(_is_root(token) for token in remaining.values()):
                raise FailedPrecondition("this is the last token that allows everything for ever: create another first")
            self._save(remaining)
        for listener in tuple(self._on_end):
            listener(token_id)

    def on_end(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id of every token that is revoked, on the revoking thread."""
        self._on_end.append(listener)

    def _add(
        self, description: str, scopes: tuple[Scope, ...], accounts: frozenset[str] | None, expire_ns: int | None
    ) -> tuple[Token, str]:
        now_ns = self._clock.now_ns()
        kept = {key: token for key, token in self._by_hash.items() if not token.expired(now_ns)}
        if len(kept) >= MAX_TOKENS:
            raise ResourceExhausted(f"there are {MAX_TOKENS} tokens already: revoke those nobody uses")
        secret = _SECRET_PREFIX + base64.urlsafe_b64encode(self._random_bytes(32)).decode().rstrip("=")
        token = Token(self._random_bytes(8).hex(), description, scopes, accounts, expire_ns, now_ns)
        self._save(kept | {_hash(secret): token})
        return token, secret

    def _save(self, by_hash: dict[str, Token]) -> None:
        rows = [_to_row(key, token) for key, token in by_hash.items()]
        try:
            _write_private(self._path, json.dumps({"format": _FORMAT, "tokens": rows}, indent=1))
        except OSError as error:
            raise ResourceExhausted(
                f"{self._path} cannot be written ({error.strerror}): nothing was changed"
            ) from error
        self._by_hash = by_hash

    def _load(self) -> dict[str, Token]:
        try:
            stored = json.loads(self._path.read_text())
            if stored["format"] != _FORMAT:
                raise ConfigError(f"{self._path} was written by another version of the server")
            return {row["sha256"]: _from_row(row) for row in stored["tokens"]}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read ({error.strerror}): set its owner and mode right") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._path} is damaged ({error!r}): restore it from a backup, or remove it to end all tokens and get"
                f" a new {ADMIN_FILE}"
            ) from None


@functools.lru_cache(maxsize=MAX_TOKENS)
def _group_owner(accounts: frozenset[str]) -> int:
    """64 bits, never 0. It is journaled with orders, so it stays what it is."""
    digest = hashlib.blake2b("\n".join(sorted(accounts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _is_root(token: Token) -> bool:
    return token.allows(Scope.ADMIN) and token.accounts is None and token.expire_ns is None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_row(key: str, token: Token) -> dict[str, Any]:
    return {
        "sha256": key,
        "token_id": token.token_id,
        "description": token.description,
        "scopes": [scope.name for scope in token.scopes],
        "accounts": None if token.accounts is None else sorted(token.accounts),
        "expire_ns": token.expire_ns,
        "create_ns": token.create_ns,
    }


def _from_row(row: dict[str, Any]) -> Token:
    accounts = row["accounts"]
    return Token(
        row["token_id"],
        row["description"],
        tuple(Scope[name] for name in row["scopes"]),
        None if accounts is None else frozenset(accounts),
        row["expire_ns"],
        row["create_ns"],
    )


def _write_private(path: Path, text: str) -> None:
    """Replace the file's content, all or nothing also over a power cut, readable by the owner only."""
    draft = path.with_name(f"{path.name}.new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
