from collections.abc import Callable, Mapping, Sequence

from fastpath.blotter.orders import Orders
from fastpath.wire.directory import Directory

class AnswerWriter:
    def __init__(
        self,
        directory: Directory,
        reject_messages: Sequence[str],
        orders: Orders,
        find: Callable[[int], bytes | None],
        encode: Callable[[bytes], bytes],
    ) -> None: ...
    def stream(
        self,
        batch_id: int,
        count: int,
        events: bytes,
        errors: Mapping[int, bytes],
        refused: Callable[[int, bytes], bytes],
    ) -> tuple[bytes, dict[tuple[int, int], int]]: ...
    def batch(
        self, count: int, events: bytes, errors: Mapping[int, bytes], refused: Callable[[int, bytes], bytes]
    ) -> tuple[bytes, dict[tuple[int, int], int]]: ...
    def one(self, events: bytes) -> tuple[bytes, dict[tuple[int, int], int]] | None: ...
    def order(self, record: bytes) -> bytes: ...
