"""Values by key and account, newest first, bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")

SCAN_LIMIT = 20_000
"""Values one call to `page` looks at. A filter that matches little gets short pages instead of a long wait."""


class _AccountKeys:
    """The keys of one account, ascending; forgotten ones are weeded out when they are the greater part."""

    __slots__ = ("forgotten", "keys")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.forgotten = 0


class History(Generic[V]):
    """A table of values whose keys grow with time. What to forget, and when, is the owner's to say."""

    __slots__ = ("_accounts", "values")

    def __init__(self) -> None:
        self.values: dict[int, V] = {}
        """By key; the owner may read it and replace values."""
        self._accounts: dict[int, _AccountKeys] = {}

    def add(self, account: int, key: int, value: V) -> None:
        """A value with a key above all earlier ones of the account."""
        self.values[key] = value
        account_keys = self._accounts.get(account)
        if account_keys is None:
            account_keys = self._accounts[account] = _AccountKeys()
        account_keys.keys.append(key)

    def forget(self, account: int, key: int) -> None:
        del self.values[key]
        account_keys = self._accounts[account]
        account_keys.forgotten += 1
        if account_keys.forgotten > 1_000 and account_keys.forgotten * 2 > len(account_keys.keys):
            account_keys.keys = [kept for kept in account_keys.keys if kept in self.values]
            account_keys.forgotten = 0

    def page(
        self, account: int, before: int | None, limit: int, wanted: Callable[[V], bool]
    ) -> tuple[list[V], int | None]:
        """At most `limit` wanted values with keys below `before` (None: from the newest on), newest first.

        The second is the `before` of the next page; None if there is none.
        """
        account_keys = self._accounts.get(account)
        keys = account_keys.keys if account_keys is not None else []
        at = len(keys) if before is None else bisect_left(keys, before)
        stop = max(0, at - SCAN_LIMIT)
        found: list[V] = []
        while at > stop and len(found) < limit:
            at -= 1
            value = self.values.get(keys[at])
            if value is not None and wanted(value):
                found.append(value)
        return found, keys[at] if at > 0 else None
