"""The chunked transfer coding (RFC 9112, 7.1), read strictly: what h11 would let pass is refused here.

    size ─► data ─► data_end ─► size       a chunk
     └────► trailer ─► done                the last chunk, and the fields behind it

Every line ends with CR LF; a size is one to sixteen hexadecimal digits, below 2**63, and nothing else
but extensions, where blanks around ";" and "=" are read (BWS); trailer fields are what fields of a head are.
"""

from __future__ import annotations

import functools
import re
import struct
from typing import Protocol

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import CONTROLS, QUOTED, TCHAR

__all__ = ["ChunkReader", "ChunkedBody"]

_EXTENSION = rf"[ \t]*;[ \t]*[{TCHAR}]+(?:[ \t]*=[ \t]*(?:[{TCHAR}]+|{QUOTED}))?"
_SIZE = rf"([0-7]?[0-9A-Fa-f]{{1,15}})(?:{_EXTENSION})*".encode("latin-1")
_FIELD = rf"[{TCHAR}]+:[^{CONTROLS}]*".encode("latin-1")
# Compiled with the first line that is one: that takes a millisecond of the start.
_pattern = functools.cache(re.compile)

# What stands between two chunks, whose second has a size of at most `LONGEST_PLAIN` digits and no extension, and that
# size, as they were read before. So a small chunk costs one look-up; clients can make as many as `MOST_PLAIN`.
_plain: dict[bytes, int] = {}
# The same sizes by their lines alone.
_plain_sizes: dict[bytes, int] = {}
LONGEST_PLAIN = 4
MOST_PLAIN = 4096

# So many chunks of the same size are read one by one before those behind them are looked at all at once, row by row; up
# to this size by columns.
FEW_ALIKE = 4
WIDEST = 32

# How much pieces of content have on the average that are handed on as they are.
LARGE = 16384

# The states.
SIZE, DATA, DATA_END, TRAILER = range(4)


class ChunkedBody:
    """Takes the bytes of one chunked body, in any pieces, in time that is linear in them."""

    __slots__ = ("_before", "_line", "_missing", "_state", "_whole")

    def __init__(self) -> None:
        self._state = SIZE
        # The line of the last chunk that came alone, and how long that was.
        self._before, self._whole = b"", 0
        # What has come of a line, and how much of a chunk has not.
        self._line = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """The content in `data`, and what comes after the end of the message, None before that.

        Raises `RequestRefused` (400).
        """
        pieces: list[bytes] = []
        rest = self._read(data, pieces)
        if len(pieces) > 1 and len(data) < LARGE * len(pieces):
            # To hand on each of many small pieces costs more than to copy them.
            pieces = [b"".join(pieces)]
        return pieces, rest

    def plain_chunk(self, data: bytes) -> bytes | None:
        """The content of `data` where that is one whole plain chunk, and then it is taken; else None, for `feed`.

        Most clients that write chunk by chunk are read so: each comes in a read of its own.
        """
        if self._state != SIZE or self._line:
            return None
        # Most have the size of the one before. Slices cost less than calls.
        start = len(self._before)
        if len(data) != self._whole or data[:start] != self._before:
            start = data.find(b"\n", 0, LONGEST_PLAIN + 2) + 1
            size = _plain_sizes.get(data[:start])
            if size is None or len(data) != start + size + 2:
                return None
            self._before, self._whole = data[:start], len(data)
        return data[start:-2] if data[-2:] == b"\r\n" else None

    def _read(self, data: bytes, pieces: list[bytes]) -> bytes | None:
        """Cut `data` up; gives what comes after the end of the message, None before that."""
        at = 0
        while at < len(data):
            if self._state == DATA:
                at = self._read_chunks(data, at, pieces)
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
                return data[at:]
        return None

    def _read_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Read on in a chunk, and in those behind it as long as they are plain; gives where it stopped."""
        end = at + self._missing
        add, find, size_of = pieces.append, data.find, _plain.get
        before, alike = b"", 0
        while end < len(data):
            add(data[at:end])
            # From the end of this chunk to the beginning of the next one. No more is looked at than may be plain.
            at = find(b"\n", end + 2, end + LONGEST_PLAIN + 4) + 1
            line = data[end:at]
            size = size_of(line)
            if size is None:
                self._missing, self._state = 0, DATA_END
                return end
            if line != before:
                before, alike = line, 0
            elif alike < FEW_ALIKE:
                alike += 1
            elif size > WIDEST:
                if count := _take_alike(data, end, line, size, pieces):
                    at = end = end + count * (len(line) + size)
                    continue
            elif count := _count_alike(data, end, line, size, 4 * alike):
                # What an attempt costs is no more than what those before have saved.
                pieces.append(_cut_alike(data, end, len(line), size, count))
                alike += count
                at = end = end + count * (len(line) + size)
                continue
            end = at + size
        if at < len(data):
            add(data[at:])
        self._missing = end - len(data)
        if not self._missing:
            self._state = DATA_END
        return len(data)

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
            found = _pattern(_SIZE).fullmatch(line)
            if found is None:
                raise RequestRefused(400, "a chunk size that is none, or an extension that is not valid")
            self._missing = int(found[1], 16)
            if self._missing and len(line) <= LONGEST_PLAIN and len(_plain) < MOST_PLAIN:
                _plain[b"\r\n%b\r\n" % line] = _plain_sizes[b"%b\r\n" % line] = self._missing
            self._state = DATA if self._missing else TRAILER
        elif not line:
            return True
        elif _pattern(_FIELD).fullmatch(line) is None:
            raise RequestRefused(400, "a trailer field that is not valid")
        return False


def _count_alike(data: bytes, start: int, line: bytes, size: int, most: int) -> int:
    """How many chunks of `size` are whole behind each other, each with `line` before it, up to `most`.

    They lie below each other in rows of the same length, so that a byte of their lines is a column.
    """
    row = len(line) + size
    count = min(most, (len(data) - start) // row)
    for column, byte in enumerate(line, start):
        cells = data[column : column + count * row : row]
        count = min(count, len(cells) - len(cells.lstrip(b"%c" % byte)))
    return count


def _cut_alike(data: bytes, start: int, line: int, size: int, count: int) -> bytes:
    """The content of `count` such chunks, whose lines have a length of `line`."""
    row = line + size
    end = start + count * row
    content = bytearray(count * size)
    for column in range(size):
        content[column::size] = data[start + line + column : end : row]
    return bytes(content)


# What is known of how a line and its chunk lie in the bytes, for as many pairs of their sizes.
_layout = functools.lru_cache(256)(struct.Struct)


def _take_alike(data: bytes, start: int, line: bytes, size: int, pieces: list[bytes]) -> int:
    """Add the content of the chunks of a larger `size` that are whole behind each other, each with `line` before it."""
    row = len(line) + size
    before = len(pieces)
    rows = memoryview(data)[start : start + (len(data) - start) // row * row]
    for found, content in _layout(f"{len(line)}s{size}s").iter_unpack(rows):
        if found != line:
            break
        pieces.append(content)
    return len(pieces) - before


class BodyCallbacks(Protocol):
    """What is called as a body is read."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""

    def on_message_complete(self) -> None:
        """The body has ended."""


class ChunkReader:
    """Takes the place of a parser for one chunked body: llhttp refuses blanks in extensions (7.1.1)."""

    __slots__ = ("_body", "_callbacks", "plain_chunk")

    def __init__(self, callbacks: BodyCallbacks) -> None:
        self._body = ChunkedBody()
        self.plain_chunk = self._body.plain_chunk
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
