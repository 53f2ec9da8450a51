"""The journal codec: exact round trips, small records, and no way to crash or fool `decode`."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.model.codec import MAX_RECORDS, decode, encode
from fastpath.model.structs import COMMAND_SIZE
from tests.reference.records import Command


def limit_order(seq: int, ts_ns: int) -> bytes:
    return Command(
        seq, ts_ns, kind=10, side=1, order_type=1, time_in_force=1, account=17, instrument=4, price=6_543_210,
        qty=12_500, client_order_id=b"strategy-7-000123456",
    ).pack()  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=COMMAND_SIZE, max_size=COMMAND_SIZE), max_size=5))
def test_any_records_survive_the_round_trip(records: list[bytes]) -> None:
    commands = b"".join(records)
    assert decode(encode(commands)) == commands


def test_a_batch_of_limit_orders_takes_less_than_60_bytes_each() -> None:
    start = 1_700_000_000_000_000_000
    commands = b"".join(limit_order(900_000 + i, start + 1_000 * i) for i in range(1_000))
    packed = encode(commands)
    assert decode(packed) == commands
    assert len(packed) / 1_000 < 60


def test_no_records() -> None:
    assert decode(encode(b"")) == b""


@pytest.mark.parametrize("size", [1, COMMAND_SIZE - 1, COMMAND_SIZE + 1])
def test_encode_refuses_a_partial_record(size: int) -> None:
    with pytest.raises(ValueError, match="192"):
        encode(bytes(size))


def test_encode_refuses_more_records_than_decode_would_read() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(bytes(COMMAND_SIZE * (MAX_RECORDS + 1)))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "cut short"),
        (b"\x01\x00\x00", "cut short"),
        (b"\x02\x00\x00\x00\x00", "version 2"),
        (b"\x01\xff\xff\xff\xff", "cannot fit"),
        (b"\x01\x00\x00\x00\x00\x00", "unknown bytes"),
        (b"\x01\x01\x00\x00\x00\x01\x00\x00", "record 0"),  # a word is announced and missing
        (b"\x01\x01\x00\x00\x00\x01\x00\x00\x00", "record 0"),  # an empty byte mask
        (b"\x01\x01\x00\x00\x00\x01\x00\x00\x01\x00", "record 0"),  # a byte said not to be zero is
    ],
)
def test_malformed_input_is_refused(packed: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(packed)


def test_every_truncation_is_refused() -> None:
    packed = encode(limit_order(5, 6) + limit_order(9, 7))
    for size in range(len(packed)):
        with pytest.raises(ValueError, match="packed commands"):
            decode(packed[:size])


def test_mutations_are_refused_or_decode_to_what_encodes_back_the_same() -> None:
    rng = random.Random(20_240_611)
    original = encode(b"".join(limit_order(100 + i, 10**18 + i) for i in range(4)))
    for _ in range(20_000):
        mutated = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        try:
            commands = decode(bytes(mutated))
        except ValueError:
            continue
        assert encode(commands) == bytes(mutated)
