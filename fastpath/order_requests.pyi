from fastpath.directory import Directory

class Requests:
    batch_id: int
    count: int
    commands: bytearray
    others: list[tuple[int, bytes]]
    accounts: set[str]
    session_accounts: set[int]

class RequestReader:
    def __init__(self, directory: Directory) -> None: ...
    def stream(self, raw: bytes) -> Requests | None: ...
    def batch(self, raw: bytes) -> Requests | None: ...

def set_session(commands: bytearray, session: int) -> None: ...
