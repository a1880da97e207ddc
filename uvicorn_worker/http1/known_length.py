"""Bodies of known length, past the parser: what is left of one after a read is only to be counted.

The parser would copy each piece of it once more. It can't be told that its message is over, so that another one takes
its place at the end; behind a request that ends the connection there is none, as nothing behind it is looked at. Where
the head was read without the parser (known_heads.py), that one has seen nothing of the message, and comes back.
"""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn_worker.core.cycle import Cycle
from uvicorn_worker.http1.parsers import SPENT, UnmadeParser

__all__ = ["CUT_FROM", "cut_body"]

# What must be missing of a body: for less, another parser costs more than the copies.
CUT_FROM = 16384


class Reader(Protocol):
    """What is needed of the reader, which is in a body."""

    parser: Any
    # The parser of what comes behind the body; None: there is none yet.
    spare: Any
    conn: Any
    body_declared: int | None
    body_bytes: int

    @property
    def incoming(self) -> Cycle | None:
        """The request whose body it is."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""

    def on_message_complete(self) -> None:
        """The body is over."""


def cut_body(reader: Reader, data: bytes | memoryview, at: int) -> int:
    """Take what of `data` from `at` on is of the body; gives how much that was, and 0 where it is the parser's.

    A memoryview is one of a buffer that others read into as well: what is taken of it is a copy.
    """
    cycle, declared = reader.incoming, reader.body_declared
    if cycle is None or declared is None:
        return 0
    missing = declared - reader.body_bytes
    if reader.parser is not SPENT:
        if missing < CUT_FROM:
            return 0
        reader.parser = SPENT
    size = min(missing, len(data) - at)
    start = at
    if at and len(cycle.chunks) == 1 and reader.body_bytes == len(cycle.chunks[0]) <= at:
        # Its beginning came with the head, in the same read: in one piece with the rest it is copied once.
        begun = len(cycle.chunks.pop())
        reader.body_bytes -= begun
        reader.conn.buffered -= begun
        start -= begun
    reader.on_body(bytes(data if start == 0 and at + size == len(data) else data[start : at + size]))
    if size == missing:
        if cycle.persistent:  # type: ignore[attr-defined]  # a cycle of HTTP/1.1
            reader.parser, reader.spare = reader.spare or UnmadeParser(reader), None
        reader.on_message_complete()
    return size
