"""HPACK (RFC 7541) for responses, without the dynamic table: the same bytes for a field on every connection.

What does not depend on a connection can be remembered for all of them, and costs one look-up when it is sent again.
The price is a few bytes more on the wire than with a table that the client would have to keep in step.
"""

from __future__ import annotations

from hpack.table import HeaderTable

__all__ = ["NO_TABLE", "encode_field", "encode_integer"]

NO_TABLE = b"\x20"
"""A dynamic table size update to 0 (6.3), due once after the client has announced a table below the default (4.2)."""

# Static table: from name, and from name and value, to the index.
_NAMES: dict[bytes, int] = {}
_FIELDS: dict[tuple[bytes, bytes], int] = {}
for _at, (_name, _value) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _NAMES.setdefault(bytes(_name), _at)
    _FIELDS.setdefault((bytes(_name), bytes(_value)), _at)

# 7.1.3: values that no intermediary should put in a table.
_SENSITIVE = frozenset([b"set-cookie", b"authorization", b"proxy-authorization"])


def encode_integer(value: int, prefix: int, start: int) -> bytes:
    """An integer (5.1) with a prefix of so many bits, behind the bits `start` of the first byte."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes((start | value,))
    out = [start | most]
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_field(name: bytes, value: bytes) -> bytes:
    """A field: by its index where the static table has it, else as a literal that is not indexed (6.2.2, 6.2.3)."""
    index = _FIELDS.get((name, value))
    if index is not None and name not in _SENSITIVE:
        return encode_integer(index, 7, 0x80)
    start = 0x10 if name in _SENSITIVE else 0x00
    index = _NAMES.get(name)
    head = bytes((start,)) + _encode_string(name) if index is None else encode_integer(index, 4, start)
    return head + _encode_string(value)


def _encode_string(text: bytes) -> bytes:
    """A string (5.2) as it is: what Huffman's code saves on the wire is not worth its time."""
    return encode_integer(len(text), 7, 0x00) + text
