"""HPACK (RFC 7541) of the native engine: header blocks of requests are decoded, and remembered where that is safe.

A client that asks again sends the same block again, since everything in it is in its table by then. What a block
means depends on the dynamic table, so what is remembered is dropped when the table changes, and a block that changes
the table is not remembered. What a hit gives is not the header list but the head that was made and checked of it.

    block ─► remembered, or like one that is (patterns.py) ─► RequestHead
       └───► decode() ─► header list ─► request_heads.py ───► remember()
"""

from __future__ import annotations

from typing import Any

from hpack.table import HeaderTable

from uvicorn_worker.http2.engine.codes import ErrorCode
from uvicorn_worker.http2.engine.encoding import encode_field
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.native.huffman import HuffmanError, decode_huffman
from uvicorn_worker.http2.engine.native.patterns import MOST_STRINGS, BlockPattern, Literal, place_of
from uvicorn_worker.http2.engine.plain_heads import FIELD_OVERHEAD

__all__ = ["STATUS", "TABLE_SIZE", "HeaderDecoder"]

Field = tuple[bytes, bytes]

# The size of the dynamic table, which our SETTINGS leave as it is by default.
TABLE_SIZE = 4096

# How much is remembered on a connection: so many header lists, and their size together, counted as in 6.5.2.
_HEADS = 64
_HEADS_SIZE = 32768
# How many patterns are, and of how large heads.
_PATTERNS = 4
_PATTERN_SIZE = 4096

# Octets of an integer behind its prefix: none of ours needs more than 28 bits, and some senders pad with zeros.
_INTEGER_OCTETS = 5

# Index 0 is not one of any field, and has neither name nor value.
_NOTHING: Any = ()
_STATIC: list[Field] = [_NOTHING, *((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)]
_STATIC_LAST = 61
# As an indexed field.
_LAST_STATIC = 0x80 + _STATIC_LAST

STATUS = [encode_field(b":status", b"%03d" % status) for status in range(1000)]
"""The field :status of a response, by the status."""


class HeaderDecoder:
    """The decoding side of one connection. All faults are of the connection, since the table is lost with them."""

    __slots__ = ("_bound", "_entries", "_literals", "_most", "_patterns", "_room", "_seen", "_size", "changes", "heads")

    def __init__(self, bound: int) -> None:
        # Above this size a header list is refused.
        self._bound = bound
        # The dynamic table, its newest entry last: index 62 is -1, 63 is -2.
        self._entries: list[Field] = []
        self._size = 0
        self._most = TABLE_SIZE
        # How often the table has changed.
        self.changes = 0
        # What is remembered, by block; and how much more may be.
        self.heads: dict[bytes, RequestHead] = {}
        self._room = _HEADS_SIZE
        # The hashes of blocks that have come once.
        self._seen: set[int] = set()
        # The strings of the block that was decoded last, and what other blocks may be like, the newest first.
        self._literals: list[Literal] = []
        self._patterns: list[BlockPattern] = []

    # Remembered --------------------------------------------------------------------------------------

    def remember(self, block: bytes, head: RequestHead) -> None:
        """Keep what was made of the block that was decoded last; that must not have changed the table.

        With the first such block it is kept what others may be like, and with the second one the head itself.
        """
        literals, self._literals = self._literals, []
        if not self._keep(block, head) and literals and head.longest >= 0:
            self._learn(block, literals, head)

    def _keep(self, block: bytes, head: RequestHead) -> bool:
        """Keep the head of a block that has come before; gives whether it has."""
        seen, number = self._seen, hash(block)
        if number not in seen:
            # Many come once: another target, or a value that no other request has.
            if len(seen) >= _HEADS:
                seen.clear()
            seen.add(number)
            return False
        size = head.size + len(block)
        if size <= _HEADS_SIZE // 4:
            head.kept = True
            if size > self._room or len(self.heads) >= _HEADS:
                self.heads.clear()
                self._room = _HEADS_SIZE
            self.heads[block] = head
            self._room -= size
        return True

    def _learn(self, block: bytes, literals: list[Literal], head: RequestHead) -> None:
        """Keep what a block whose head is plain is like; of its pseudo-fields the target alone may be another one."""
        if len(literals) <= MOST_STRINGS and head.size <= _PATTERN_SIZE and all(place != 0 for _, _, place in literals):
            del self._patterns[_PATTERNS - 1 :]
            self._patterns.insert(0, BlockPattern(block, literals, head, self._bound))

    def find(self, block: bytes) -> RequestHead | None:
        """The head of a block that is like one before; None: it is to be decoded."""
        try:
            for pattern in self._patterns:
                head = pattern.read(block, _read_string)
                if head is not None:
                    self._keep(block, head)
                    return head
        except (IndexError, HuffmanError, Http2ConnectionError):
            # To be told by who decodes it.
            return None
        return None

    def _changed(self) -> None:
        """Indices mean something else from now on."""
        self.changes += 1
        self.forget()

    def forget(self) -> None:
        """Remember no heads of before; the table is the client's, too, and stays."""
        if self._patterns:
            self._patterns.clear()
        if self._seen:
            self._seen.clear()
        if self.heads:
            self.heads.clear()
            self._room = _HEADS_SIZE

    # Decoding ----------------------------------------------------------------------------------------

    def decode(self, block: bytes) -> list[Field]:
        """The header list of a block; raises `Http2ConnectionError`."""
        try:
            fields = self._decode(block)
        except IndexError:
            raise Http2ConnectionError(
                ErrorCode.COMPRESSION_ERROR, "a header block that is cut off, or an index of nothing"
            ) from None
        except HuffmanError as exc:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, f"a header block with {exc}") from None
        # Literals grow by Huffman's code to no more than twice their size, and what is in the table is no larger
        # than it: so most lists need not be counted.
        if len(fields) * TABLE_SIZE + 2 * len(block) > self._bound:
            size = sum([len(name) + len(value) for name, value in fields]) + FIELD_OVERHEAD * len(fields)
            if size > self._bound:
                raise Http2ConnectionError(
                    ErrorCode.ENHANCE_YOUR_CALM, f"a header list larger than {self._bound} bytes"
                )
        return fields

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        self._literals = literals = []
        entries = self._entries
        at, end = 0, len(block)
        while at < end:
            octet = block[at]
            at += 1
            if octet >= 0x80:
                # 6.1: an indexed field.
                if octet != 0xFF:
                    field = _STATIC[octet - 0x80] if octet <= _LAST_STATIC else entries[_LAST_STATIC - octet]
                else:
                    index, at = _read_integer(block, at, 0x7F)
                    field = entries[_STATIC_LAST - index]
                if not field:
                    raise IndexError
            elif octet >= 0x40:
                # 6.2.1: a literal that goes into the table.
                name, at = self._read_name(block, at, octet & 0x3F, 0x3F)
                value, at = _read_string(block, at)
                field = (name, value)
                self._add(field)
            elif octet < 0x20:
                # 6.2.2 and 6.2.3: one that does not.
                name, begin = self._read_name(block, at, octet & 0x0F, 0x0F)
                value, at = _read_string(block, begin)
                field = (name, value)
                literals.append((begin, at, place_of(name, len(fields))))
            else:
                # 6.3: the size of the table, before all fields.
                size, at = (octet & 0x1F, at) if octet != 0x3F else _read_integer(block, at, 0x1F)
                if fields or size > TABLE_SIZE:
                    raise Http2ConnectionError(
                        ErrorCode.COMPRESSION_ERROR, "a change of the table's size that is not allowed"
                    )
                self._resize(size)
                continue
            fields.append(field)
        return fields

    def _read_name(self, block: bytes, at: int, index: int, mask: int) -> tuple[bytes, int]:
        """The name of a literal, by its index or as a string."""
        if not index:
            return _read_string(block, at)
        if index == mask:
            index, at = _read_integer(block, at, mask)
        field = _STATIC[index] if index <= _STATIC_LAST else self._entries[_STATIC_LAST - index]
        return field[0], at

    # The dynamic table -------------------------------------------------------------------------------

    def _add(self, field: Field) -> None:
        """Add an entry; 4.4: one that is larger than the table leaves it empty."""
        self._changed()
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD
        self._make_room(self._most - size)
        if size <= self._most:
            self._entries.append(field)
            self._size += size

    def _resize(self, size: int) -> None:
        self._changed()
        self._most = size
        self._make_room(size)

    def _make_room(self, size: int) -> None:
        """Drop the oldest entries until the table is no larger than `size`."""
        entries = self._entries
        dropped = 0
        while self._size > size and dropped < len(entries):
            name, value = entries[dropped]
            self._size -= len(name) + len(value) + FIELD_OVERHEAD
            dropped += 1
        if dropped:
            del entries[:dropped]


def _read_integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """An integer whose prefix is full (5.1), and where it ends."""
    value = prefix
    for shift in range(0, 7 * _INTEGER_OCTETS, 7):
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, "an integer that is too long")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string (5.2), and where it ends."""
    octet = block[at]
    at += 1
    length = octet & 0x7F
    if length == 0x7F:
        length, at = _read_integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    return decode_huffman(block[at:end]) if octet >= 0x80 else block[at:end], end
