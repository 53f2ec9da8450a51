"""Protobuf's wire format, as far as messages are joined here from parts that are encoded already."""

from __future__ import annotations

_ONE_BYTE = tuple(bytes((number,)) for number in range(128))
_VARINT, _LENGTH = 0, 2
"""Wire types."""


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first. `number` must not be negative."""
    if number < 128:
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def varint_key(field_number: int) -> bytes:
    """What stands before a number or a boolean."""
    return varint(field_number << 3 | _VARINT)


def content_key(field_number: int) -> bytes:
    """What stands before a text or a message; its length follows."""
    return varint(field_number << 3 | _LENGTH)


def prefixed(content: bytes) -> bytes:
    """A text or a message, after its length."""
    return varint(len(content)) + content
