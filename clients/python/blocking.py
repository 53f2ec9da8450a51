"""Derives the blocking client `tradewind/_sync` from the asyncio client `tradewind/_async`: one source for both.

Used by setup.py when the package is built. The two differ in words alone: what is awaited is called, what is iterated
asynchronously is iterated.
"""

import re
from pathlib import Path

HEADER = "# Generated from tradewind/_async/{name} when the SDK is built: change that file.\n"

WORDS = [
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bfrom asyncio import sleep\b", "from time import sleep"),
    (r"\bfrom asyncio import Queue\b", "from queue import Queue"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r", Awaitable\b", ""),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(iter|next)\(", r"\1("),
    (r"\bgrpc\.aio\b", "grpc"),
    (r"\bopen_async\b", "open"),
    (r"\b_async\b", "_sync"),
    (r"\ban asyncio\b|\basyncio\b", "blocking"),
]


def blocking_source(name: str, source: str) -> str:
    """The blocking twin of one module of the asyncio client."""
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return HEADER.format(name=name) + source


def generate(package: Path) -> None:
    """Write `package`/_sync from `package`/_async."""
    target = package / "_sync"
    for path in sorted((package / "_async").glob("[!_]*.py")):
        (target / path.name).write_text(blocking_source(path.name, path.read_text(encoding="utf-8")), encoding="utf-8")
