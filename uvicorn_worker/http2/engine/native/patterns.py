"""Header blocks that differ in a few values from one that was read before, as most of a client's do.

What a client won't put into its table it sends as a string each time: the target, mostly, an id, a timeout. All else of
such a block is the same bytes again, which mean the same until the table changes. So of the next block only these
strings are read:

    82 86 c0 │ 04 len path │ bf be │ 00 ... len value │ c1
    └ as before ┘   └ read      └ as before ┘  └ read    └ as before

As with heads that come again (hpack.py), what is here is dropped when the table changes.
"""

from __future__ import annotations

from collections.abc import Callable

from uvicorn_worker.core.grammar import PLAIN_VALUE, parse_length
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.plain_heads import PSEUDO, TARGET

__all__ = ["MOST_STRINGS", "BlockPattern", "Literal", "place_of"]

Literal = tuple[int, int, int]
"""Of a string that is the value of a literal field: where it begins in its block, where it ends, and what it is of
(`place_of`)."""

MOST_STRINGS = 8
"""How many strings a pattern may have; a block with more is decoded."""


def place_of(name: bytes, number: int) -> int:
    """Which of the headers of a plain head a field of this number is; -1 for the target, 0 for what must not change."""
    if number >= PSEUDO:
        return number - PSEUDO + 1
    return -1 if name == b":path" else 0


class BlockPattern:
    """A block whose head was found plain, without the strings in it."""

    __slots__ = ("_behind", "_head", "_longest", "_most", "_parts", "_size")

    def __init__(self, block: bytes, literals: list[Literal], head: RequestHead, bound: int) -> None:
        """`literals` are those of `block`, `head` what was made of it; no larger list than `bound` is to be read."""
        self._head = head
        headers = head.headers
        # What comes before each string, and the header that it is the value of; -1 for the target.
        self._parts: list[tuple[bytes, int]] = []
        at = 0
        # Without the values that are read.
        self._size = head.size
        for begin, end, place in literals:
            self._parts.append((block[at:begin], place))
            self._size -= len(head.target if place < 0 else headers[place][1])
            at = end
        self._behind = block[at:]
        read = {place for _, place in self._parts}
        self._longest = max(len(name) + len(value) for at, (name, value) in enumerate(headers) if at not in read)
        # Strings grow by Huffman's code to no more than twice their size.
        self._most = (bound - self._size) // 2

    def read(self, block: bytes, read_string: Callable[[bytes, int], tuple[bytes, int]]) -> RequestHead | None:
        """The head of a block like it; None for any other. Raises what `read_string` does."""
        if len(block) > self._most:
            return None
        at, known = 0, self._head
        target, size, longest = known.target, self._size, self._longest
        headers = known.headers.copy()
        length, priority = known.content_length, known.priority
        for before, place in self._parts:
            if not block.startswith(before, at):
                return None
            value, at = read_string(block, at + len(before))
            size += len(value)
            if place < 0:
                if not value or value.translate(TARGET) != value:
                    return None
                target = value
                continue
            if value.translate(PLAIN_VALUE).strip() != value:
                return None
            name = headers[place][0]
            headers[place] = (name, value)
            if name == b"content-length":
                length = parse_length(value)
                if length is None:
                    return None
            elif name == b"priority":
                priority = value
            elif name == b"te" and value != known.headers[place][1]:
                return None
            longest = max(longest, len(name) + len(value))
        if block[at:] != self._behind:
            return None
        head = RequestHead(known.method, target, known.scheme, known.authority)
        head.headers = headers
        head.content_length, head.priority, head.size, head.longest = length, priority, size, longest
        return head
