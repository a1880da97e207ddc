"""The chunked transfer coding (RFC 9112, 7.1), read strictly: what h11 would let pass is refused here.

    size ─► data ─► data_end ─► size       a chunk
     └────► trailer ─► done                the last chunk, and the fields behind it

Every line ends with CR LF; a size is one to sixteen hexadecimal digits, below 2**63, and nothing else
but extensions, where blanks around ";" and "=" are read (BWS); trailer fields are what fields of a head are.
"""

from __future__ import annotations

import re
from typing import Protocol

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import TCHAR

__all__ = ["ChunkReader", "ChunkedBody"]

_QUOTED = r'"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[\t\x20-\x7e\x80-\xff])*"'
_EXTENSION = rf"[ \t]*;[ \t]*[{TCHAR}]+(?:[ \t]*=[ \t]*(?:[{TCHAR}]+|{_QUOTED}))?"
_match_size = re.compile(rf"([0-7]?[0-9A-Fa-f]{{1,15}})(?:{_EXTENSION})*".encode("latin-1")).fullmatch
_match_field = re.compile(rf"[{TCHAR}]+:[^\x00-\x08\x0a-\x1f\x7f]*".encode("latin-1")).fullmatch

# The states.
SIZE, DATA, DATA_END, TRAILER = range(4)


class ChunkedBody:
    """Takes the bytes of one chunked body, in any pieces, in time that is linear in them."""

    __slots__ = ("_line", "_missing", "_state")

    def __init__(self) -> None:
        self._state = SIZE
        # What has come of a line, and how much of a chunk has not.
        self._line = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """The content in `data`, and what comes after the end of the message, None before that.

        Raises `RequestRefused` (400).
        """
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state == DATA:
                piece = data[at : at + self._missing]
                content.append(piece)
                at += len(piece)
                self._missing -= len(piece)
                if self._missing == 0:
                    self._state = DATA_END
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            line = data[at : end + 1]
            at = end + 1
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if self._end_line(line):
                return content, data[at:]
        return content, None

    def _keep(self, start: bytes) -> None:
        """The start of a line. How long it may be, the reader says, which knows how much came for what content."""
        if self._state == DATA_END and not b"\r\n".startswith(bytes(self._line) + start):
            raise RequestRefused(400, "a chunk is longer than its size")
        self._line += start

    def _end_line(self, line: bytes) -> bool:
        """A line has come; True where it ends the message."""
        if not line.endswith(b"\r\n"):
            raise RequestRefused(400, "a line of the chunked body does not end with CR LF")
        line = line[:-2]
        if self._state == DATA_END:
            if line:
                raise RequestRefused(400, "a chunk is longer than its size")
            self._state = SIZE
        elif self._state == SIZE:
            found = _match_size(line)
            if found is None:
                raise RequestRefused(400, "a chunk size that is none, or an extension that is not valid")
            self._missing = int(found[1], 16)
            self._state = DATA if self._missing else TRAILER
        elif not line:
            return True
        elif _match_field(line) is None:
            raise RequestRefused(400, "a trailer field that is not valid")
        return False


class BodyCallbacks(Protocol):
    """What is called as a body is read."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""

    def on_message_complete(self) -> None:
        """The body has ended."""


class ChunkReader:
    """Takes the place of a parser for one chunked body: llhttp refuses blanks in extensions (7.1.1)."""

    __slots__ = ("_body", "_callbacks")

    def __init__(self, callbacks: BodyCallbacks) -> None:
        self._body = ChunkedBody()
        self._callbacks = callbacks

    def feed_data(self, data: bytes | memoryview) -> int | None:
        """Take bytes; at the end of the body it gives how many lie behind it. Raises `RequestRefused` (400)."""
        content, rest = self._body.feed(bytes(data))
        for piece in content:
            self._callbacks.on_body(piece)
        if rest is None:
            return None
        self._callbacks.on_message_complete()
        return len(rest)
