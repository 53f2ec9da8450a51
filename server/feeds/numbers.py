"""Range checks of venue integers (ids, sequences, times): later code relies on the range.

JSON readers make a float of an integer beyond 64 bits, so only whole numbers are taken, or their digits as text.
All functions raise ValueError, which says the limit.
"""

from __future__ import annotations

import re

MAX_UNITS = 2**60
"""Most ticks or data lots of a price or quantity of a venue: the engine's limit of prices, and sums of a few fit int64."""
MAX_TEXT = 64
"""Most characters of a number or an id of a venue."""
MAX_SEQUENCE = 2**63 - 1
MAX_MILLISECONDS = (2**63 - 1) // 1_000_000

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_TRADE_ID = re.compile(r"[!-~]{1,64}")


def integer(value: object, low: int, high: int, what: str) -> int:
    """`value` as an integer from `low` to `high`; `what` names it in the error."""
    if type(value) is int and low <= value <= high:
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what} {str(value)[:40]!r} is not an integer from {low} to {high}")
    return value


def sequence(value: object) -> int:
    """An update id or sequence number. -1 stands for "none" at some venues."""
    return integer(value, -1, MAX_SEQUENCE, "the sequence number")


def ns(milliseconds: object) -> int:
    """Nanoseconds of a venue's milliseconds since the epoch."""
    return integer(milliseconds, 0, MAX_MILLISECONDS, "the time in ms") * 1_000_000


def trade_id(value: object) -> str:
    """A trade's id as text."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _TRADE_ID.fullmatch(text):
        raise ValueError(f"the trade id {str(value)[:40]!r} is not a text of 1 to {MAX_TEXT} ASCII characters")
    return text
