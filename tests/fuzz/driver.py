"""Inputs for the harnesses where no coverage guides: examples, mutated at random, the same ones for the same seed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.fuzz.harnesses import Fuzzed

__all__ = ["Found", "inputs", "search"]

TOKENS = [
    *(bytes([code]) for code in b'\0\1\2\t\n\r !"%(),/:;<=>?[\\]{}\x7f\x80\xc3\xff0159aZ'),
    *(b"\r\n", b"\r\n\r\n", b"ffffffffffffffff", b"0000", b"%0A", b"\0\0\0\0", b"\x7f\xff\xff\xff"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Host: b\r\n", b"%(", b")s", b"for=", b"u="),
]


class Found(AssertionError):
    """An input that a harness fails with."""


def inputs(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    """Inputs without an end: the examples, then mutations of them, and of two of them one behind the other."""
    yield b""
    yield from seeds
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(seeds))
        if chance.random() < 0.2:
            data += chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 3, 6))):
            at, size = chance.randrange(len(data) + 1), chance.choice((0, 0, 1, 1, 2, 4, 9))
            kind = chance.random()
            if kind < 0.5:
                data[at : at + size] = chance.choice(TOKENS)
            elif kind < 0.7:
                data[at : at + 1] = bytes([chance.randrange(256)])
            elif kind < 0.85:
                data[at:at] = data[at : at + 9 * size]
            else:
                del data[at : at + size]
        yield bytes(data)


def search(name: str, fuzzed: Fuzzed, seed: int, rounds: int, seconds: float = float("inf")) -> int:
    """Try so many inputs, or for so long; gives how many it were, raises `Found` with the one that fails."""
    end = time.monotonic() + seconds
    tried = 0
    for data in inputs(fuzzed.seeds, seed):
        if tried >= rounds or time.monotonic() > end:
            break
        tried += 1
        try:
            fuzzed.run(data)
        except Exception as exc:
            raise Found(f"{name} fails with {data!r}") from exc
    return tried
