"""Pages of lists (AIP-158): a size, and an opaque token that says where the next page begins."""

from __future__ import annotations

import base64
import binascii
from typing import Generic, NamedTuple, TypeVar

from server.base.errors import InvalidRequest

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000


class Page(NamedTuple, Generic[T]):
    items: list[T]
    next_page_token: str
    """Empty on the last page."""


def page_limit(page_size: int) -> int:
    """How many items a page holds. Raises InvalidRequest if `page_size` is negative."""
    if page_size < 0:
        raise InvalidRequest.of("page_size", "must not be negative")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_token(what: str, position: str) -> str:
    """A token that only a list of the same `what` accepts."""
    return base64.urlsafe_b64encode(f"{what}:{position}".encode()).decode().rstrip("=")


def decode_token(what: str, token: str) -> str | None:
    """The position in `token`; None for the first page. Raises InvalidRequest."""
    if not token:
        return None
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    found, _, position = text.partition(":")
    if found != what or not position:
        raise InvalidRequest.of("page_token", "is not the next_page_token of an earlier response to this request")
    return position


def decode_number_token(what: str, token: str) -> int | None:
    """As `decode_token`, for positions that are numbers."""
    position = decode_token(what, token)
    if position is None:
        return None
    if not position.isdecimal() or len(position) > 20:
        raise InvalidRequest.of("page_token", "is not the next_page_token of an earlier response to this request")
    return int(position)
