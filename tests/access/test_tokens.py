"""Tokens: what they allow, how they are stored, and that they only get narrower."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from server.access.tokens import MAX_TOKENS, Scope, Token, TokenStore
from server.base import errors
from server.base.clock import ManualClock
from tests.support.rpc import admin_secret, admin_token, token_store

NOW_NS = 1_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_NS)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> TokenStore:
    return token_store(tmp_path, clock)


@pytest.fixture
def root(store: TokenStore) -> Token:
    return admin_token(store)


def test_the_first_start_makes_a_token_for_everything(store: TokenStore, root: Token) -> None:
    assert stat.S_IMODE(store.admin_path.stat().st_mode) == 0o600
    assert all(root.allows(scope) for scope in Scope)
    assert root.may_use("anything")
    assert root.expire_ns is None


def test_secrets_are_long_and_nowhere_in_the_file(store: TokenStore, root: Token, tmp_path: Path) -> None:
    _, secret = store.create(root, "bot", [Scope.TRADE], ["demo"], None)
    file = tmp_path / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(secret) > 40
    assert secret not in file.read_text()
    assert secret[3:] not in file.read_text()
    assert admin_secret(store) not in file.read_text()


def test_tokens_survive_a_restart_and_no_second_admin_token_is_made(
    store: TokenStore, root: Token, tmp_path: Path, clock: ManualClock
) -> None:
    secret = admin_secret(store)
    made, bot_secret = store.create(root, "bot", [Scope.TRADE], ["demo"], NOW_NS + 10)
    again = token_store(tmp_path, clock)
    assert again.find(secret) == root
    assert again.find(bot_secret) == made
    assert admin_secret(again) == secret


@pytest.mark.parametrize("secret", ["", "tw_", "tw_unknown", "x" * 10_000, "ünï", "\x00"])
def test_unknown_secrets_are_refused_all_alike(store: TokenStore, secret: str) -> None:
    with pytest.raises(errors.Unauthenticated, match="unknown, expired or revoked"):
        store.find(secret)


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (Scope.READ, {Scope.READ}),
        (Scope.TRADE, {Scope.READ, Scope.TRADE}),
        (Scope.RISK_ADMIN, {Scope.READ, Scope.RISK_ADMIN}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_what_a_scope_includes(store: TokenStore, root: Token, held: Scope, allowed: set[Scope]) -> None:
    token, _ = store.create(root, "t", [held], [], None)
    assert {scope for scope in Scope if token.allows(scope)} == allowed


def test_a_token_gives_nothing_it_does_not_hold(store: TokenStore, root: Token) -> None:
    narrow, _ = store.create(root, "narrow", [Scope.READ], ["a", "b"], NOW_NS + 100)
    child, _ = store.create(narrow, "child", [Scope.READ], ["a"], None)
    assert child.accounts == frozenset({"a"})
    assert child.expire_ns == NOW_NS + 100
    inherited, _ = store.create(narrow, "all it has", [Scope.READ], [], NOW_NS + 50)
    assert inherited.accounts == frozenset({"a", "b"})
    for scopes, accounts, expire_ns in (
        ([Scope.TRADE], ["a"], None),
        ([Scope.READ], ["c"], None),
        ([Scope.READ], ["a"], NOW_NS + 101),
    ):
        with pytest.raises(errors.PermissionDenied):
            store.create(narrow, "wider", scopes, accounts, expire_ns)


def test_a_token_of_the_past_is_not_made(store: TokenStore, root: Token) -> None:
    with pytest.raises(errors.InvalidRequest, match="future"):
        store.create(root, "past", [Scope.READ], [], NOW_NS)


def test_revoked_tokens_are_refused_at_once_and_told(store: TokenStore, root: Token, tmp_path: Path) -> None:
    ended: list[str] = []
    store.on_end(ended.append)
    token, secret = store.create(root, "bot", [Scope.READ], [], None)
    store.revoke(root, token.token_id)
    assert ended == [token.token_id]
    for each in (store, token_store(tmp_path)):
        with pytest.raises(errors.Unauthenticated):
            each.find(secret)
    with pytest.raises(errors.NotFound):
        store.revoke(root, token.token_id)


def test_nobody_sees_or_revokes_a_wider_token(store: TokenStore, root: Token) -> None:
    local_admin, _ = store.create(root, "admin of one account", [Scope.ADMIN], ["a"], None)
    other, _ = store.create(root, "other", [Scope.READ], ["b"], None)
    own, _ = store.create(local_admin, "own", [Scope.READ], [], None)
    assert {token.token_id for token in store.tokens(local_admin)} == {local_admin.token_id, own.token_id}
    for token in (root, other):
        with pytest.raises(errors.NotFound):
            store.revoke(local_admin, token.token_id)
    store.revoke(local_admin, own.token_id)


def test_the_last_token_for_everything_stays(store: TokenStore, root: Token) -> None:
    with pytest.raises(errors.FailedPrecondition):
        store.revoke(root, root.token_id)
    second, _ = store.create(root, "second", [Scope.ADMIN], [], None)
    store.revoke(second, root.token_id)


def test_the_number_of_tokens_is_bounded_and_expired_ones_make_room(
    store: TokenStore, root: Token, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.access.tokens.MAX_TOKENS", 5)
    for _ in range(4):
        store.create(root, "t", [Scope.READ], [], NOW_NS + 10)
    with pytest.raises(errors.ResourceExhausted):
        store.create(root, "one more", [Scope.READ], [], NOW_NS + 10)
    clock.advance(10)
    store.create(root, "one more", [Scope.READ], [], None)
    assert len(store.tokens(root)) == 2
    assert MAX_TOKENS == 1000


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "tokens": []}', '{"format": 1, "tokens": [{}]}'])
def test_a_damaged_file_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(errors.ConfigError, match=r"tokens\.json"):
        token_store(tmp_path)


def test_a_failed_write_changes_nothing(store: TokenStore, root: Token, tmp_path: Path) -> None:
    before = (tmp_path / "tokens.json").read_text()
    (tmp_path / "tokens.json.new").mkdir()
    with pytest.raises(errors.ResourceExhausted, match="nothing was changed"):
        store.create(root, "bot", [Scope.READ], [], None)
    assert (tmp_path / "tokens.json").read_text() == before
    assert len(store.tokens(root)) == 1
    assert json.loads(before)["tokens"][0]["token_id"] == root.token_id


def test_randomness_is_an_argument(tmp_path: Path) -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    TokenStore(tmp_path, ManualClock(), random_bytes)
    assert 32 in asked
