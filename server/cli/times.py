"""Lengths and points of time as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tradewind import Client

SinceOption = Annotated[
    str, typer.Option(metavar="TIME", help="Not before this: 30m, 4h, 2d ago, or 2026-01-31 or 2026-01-31T14:30 (UTC).")
]
UntilOption = Annotated[str, typer.Option(metavar="TIME", help="Before this, written like --since.")]

_LENGTH = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def length_of(text: str, option: str) -> timedelta:
    """Of "10s", "5m", "4h", "1d". Raises typer.BadParameter about `option`."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text}: write a number and s, m, h or d, such as 5m", param_hint=option)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def check_moment(text: str | None, option: str) -> None:
    """Raises typer.BadParameter about `option` unless it is a length, a date or a time; before anything is connected."""
    if text and not _LENGTH.fullmatch(text):
        _parsed(text, option)


def parse_time(text: str, option: str, client: Client) -> datetime | None:
    """A date, a time, or a length before the server's time; None of "". Raises typer.BadParameter."""
    if not text:
        return None
    if _LENGTH.fullmatch(text):
        return client.get_info().server_time - length_of(text, option)
    return _parsed(text, option)


def parse_future_time(text: str | None, option: str, client: Client) -> datetime | None:
    """A date, a time, or a length from the server's time on; None of None. Raises typer.BadParameter."""
    if text is None:
        return None
    if _LENGTH.fullmatch(text):
        return client.get_info().server_time + length_of(text, option)
    return _parsed(text, option)


def _parsed(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text}: write a length such as 4h, a date such as 2026-01-31, or a time such as 2026-01-31T14:30 (UTC)"
            " or 2026-01-31T14:30:00+01:00",
            param_hint=option,
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
