"""Huffman's code of HPACK (RFC 7541, 5.2 and appendix B), decoded byte by byte.

A state is a prefix of the code, that is the bits which are left of the bytes before; its steps say for each next byte
which symbols it completes, and which state comes then. There are 256 states. Their steps are filled in as they are
needed, since text needs a few hundred of the 65536; all of them would take some ten megabytes.
"""

from __future__ import annotations

from typing import Any

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

# By byte the steps of the state that comes then, and what was completed: a plain dictionary, which the interpreter
# looks into without a call. Behind the bytes are length and bits of the prefix, and whether a string may end with it.
_Steps = dict[int, Any]
_PREFIX = 256
_PADDED = 257
_states: dict[tuple[int, int], _Steps] = {}


class HuffmanError(ValueError):
    """A string that is not one of Huffman's code, or whose padding is wrong."""


def _state(length: int, code: int) -> _Steps:
    """The steps of a prefix."""
    steps = _states.get((length, code))
    if steps is None:
        steps = _states[length, code] = {_PREFIX: (length, code)}
        if length <= _PADDING and code == (1 << length) - 1:
            steps[_PADDED] = True
    return steps


_START = _state(0, 0)


def _add_step(steps: _Steps, byte: int) -> tuple[_Steps, bytes]:
    """What a byte means that has not come in this state before; raises `HuffmanError`."""
    length, code = steps[_PREFIX]
    completed = bytearray()
    for shift in range(7, -1, -1):
        length, code = length + 1, code << 1 | byte >> shift & 1
        symbol = _SYMBOLS.get((length, code))
        if symbol == _END:
            raise HuffmanError("the end of a string within it")
        if symbol is not None:
            completed.append(symbol)
            length = code = 0
    step = steps[byte] = _state(length, code), bytes(completed)
    return step


def decode_huffman(data: bytes) -> bytes:
    """The text of an encoded string; raises `HuffmanError`."""
    steps = _START
    texts: list[bytes] = []
    rest = iter(data)
    while True:
        try:
            for byte in rest:
                steps, text = steps[byte]
                texts.append(text)
            break
        except KeyError:
            steps, text = _add_step(steps, data[len(texts)])
            texts.append(text)
    if _PADDED not in steps:
        raise HuffmanError("a string that ends within a symbol")
    return b"".join(texts)
