"""Huffman's code of HPACK (RFC 7541, 5.2 and appendix B), decoded byte by byte.

A state is a prefix of the code, that is the bits which are left of the bytes before; a row says for each next byte
which symbols it completes, and which state comes then. There are 256 states. Their rows are filled in as they are
needed, since text needs a few hundred of the 65536 places; all of them would take some ten megabytes.
"""

from __future__ import annotations

from typing import ClassVar

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

__all__ = ["HuffmanError", "decode_huffman"]

# The symbol for the end of a string, of which only the first bits may occur, as padding.
_END = 256
# From length and bits of a code to its symbol.
_SYMBOLS: dict[tuple[int, int], int] = {
    (length, code): symbol
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
}
# The longest padding, in bits.
_PADDING = 7


class HuffmanError(ValueError):
    """A string that is not one of Huffman's code, or whose padding is wrong."""


class _Row(dict[int, tuple["_Row", bytes]]):
    """What each byte means behind one prefix: the row of the prefix that comes then, and what was completed."""

    __slots__ = ("code", "is_padding", "length")

    known: ClassVar[dict[tuple[int, int], _Row]] = {}

    def __init__(self, length: int, code: int) -> None:
        self.length = length
        self.code = code
        self.is_padding = length <= _PADDING and code == (1 << length) - 1

    def __missing__(self, byte: int) -> tuple[_Row, bytes]:
        length, code = self.length, self.code
        completed = bytearray()
        for shift in range(7, -1, -1):
            length, code = length + 1, code << 1 | byte >> shift & 1
            symbol = _SYMBOLS.get((length, code))
            if symbol == _END:
                raise HuffmanError("the end of a string within it")
            if symbol is not None:
                completed.append(symbol)
                length = code = 0
        row = self.known.get((length, code))
        if row is None:
            row = self.known[length, code] = _Row(length, code)
        step = self[byte] = row, bytes(completed)
        return step


_START = _Row.known[0, 0] = _Row(0, 0)


def decode_huffman(data: bytes) -> bytes:
    """The text of an encoded string; raises `HuffmanError`."""
    row = _START
    texts = []
    for byte in data:
        row, text = row[byte]
        texts.append(text)
    if not row.is_padding:
        raise HuffmanError("a string that ends within a symbol")
    return b"".join(texts)
