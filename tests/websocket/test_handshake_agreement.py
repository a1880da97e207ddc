"""Handshakes are answered as the websockets library answers them: status, words and fields, whatever a client sends."""

from __future__ import annotations

import base64
import random
from importlib.metadata import version

import pytest

from tests.websocket.handshake_reference import our_answer, their_answer
from tests.websocket.wire import HANDSHAKE
from uvicorn_worker.websocket import accept_key

Fields = list[tuple[bytes, bytes]]

USUAL: Fields = [
    (name.lower().encode(), value.encode()) for name, _, value in (line.partition(": ") for line in HANDSHAKE)
]

# Before its version 17 the library takes such an offer, which zlib can't meet, and fails.
WINDOW_OF_8 = [b"=8"] if int(version("websockets").partition(".")[0]) >= 17 else []

# Pieces of which values are made: rightly, nearly so, and not at all.
PIECES: dict[bytes, list[bytes]] = {
    b"connection": [b"Upgrade", b"upgrade", b"keep-alive", b"close", b"a/b", b"@"],
    b"upgrade": [b"websocket", b"WebSocket", b"h2c", b"websocket/13", b"a/", b"/", b"TLS/1.0"],
    b"sec-websocket-protocol": [b"chat", b"chat.v1", b"a=b", b"a/b", b'"chat"', b"x;y", b"\xe9"],
    b"sec-websocket-extensions": [
        *[b"permessage-deflate"] * 3,
        *b"Permessage-Deflate|x-other|unknown|unknown=1|=".split(b"|"),
        *b"server_no_context_takeover|client_no_context_takeover|server_no_context_takeover=1".split(b"|"),
        *[b"server_max_window_bits" + value for value in (b"", *WINDOW_OF_8, b"=10", b"=15")],
        *[b"client_max_window_bits" + value for value in (b"", b"=8", b'="9"', b"=16", b"=010", b"=", b" = 11")],
        *(b'a="\\b"', b'a="b c"', b'a="b', b'a=""', b'a="\xe9"', b'a="\\\xe9"'),
    ],
}
SEPARATORS = [b", ", b",", b" ,\t", b",,", b", ,", b"; ", b"; ", b";", b" ; ", b" ", b"", b";;"]
KEYS = [
    b"dGhlIHNhbXBsZSBub25jZQ==",
    *[b"dGhlIHNhbXBsZSBub25j" + end for end in (b"", b"ZQ", b"ZQ=", b"ZQ==x", b"ZR==", b"ZTE=")],
    *(b"", b"x", b"====", b"\xff" * 24, b"dGhlIHNhbXBs ZSBub25jZQ=="),
]
NAMES = [
    *[*PIECES] * 2,
    *(b"sec-websocket-extensions", b"sec-websocket-key", b"sec-websocket-version", b"origin"),
]
VERSIONS = [b"13", b"", b"8", b"12", b"013", b"13, 8", b"\xe9"]


def random_value(randomness: random.Random, name: bytes) -> bytes:
    if name == b"sec-websocket-key":
        return randomness.choice([base64.b64encode(randomness.randbytes(16)), *KEYS])
    if name == b"sec-websocket-version":
        return randomness.choice(VERSIONS)
    if name not in PIECES:
        return b"http://a.test"
    value = randomness.choice([b"", b"", b"", b",", b", ,", b";"])
    for _ in range(randomness.choice([1, 1, 2, 3, 5])):
        value += randomness.choice(PIECES[name]) + randomness.choice(SEPARATORS)
    return value.strip()


def random_fields(randomness: random.Random) -> Fields:
    """A handshake in which up to three fields are others, are missing or come again."""
    fields = list(USUAL)
    for _ in range(randomness.choice([0, 1, 1, 2, 3])):
        name = randomness.choice(NAMES)
        if randomness.random() < 0.7:
            fields = [field for field in fields if field[0] != name]
        if randomness.random() < 0.9:
            fields.append((name, random_value(randomness, name)))
        if randomness.random() < 0.1:
            fields.append((name, random_value(randomness, name)))
    return fields


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_random_handshakes(seed: int, compress: bool) -> None:
    randomness = random.Random(seed)
    statuses = set()
    for _ in range(250):
        fields = random_fields(randomness)
        ours = our_answer(fields, compress=compress)
        assert ours == their_answer(fields, compress=compress), fields
        statuses.add(ours.status)
    assert statuses == {101, 400, 426}


OFFERS = [b"", *PIECES[b"sec-websocket-extensions"]]


@pytest.mark.parametrize("first", OFFERS)
def test_offers_of_compression(first: bytes) -> None:
    for second in OFFERS:
        for third in (b"", b"; client_max_window_bits", b", permessage-deflate", b"; server_no_context_takeover"):
            offer = b"permessage-deflate" + b"".join(b"; " + each for each in (first, second) if each) + third
            fields = [*USUAL, (b"sec-websocket-extensions", offer)]
            assert our_answer(fields) == their_answer(fields), offer


def test_a_window_that_zlib_can_not_write_is_declined() -> None:
    answer = our_answer([*USUAL, (b"sec-websocket-extensions", b"permessage-deflate; server_max_window_bits=8")])
    assert (answer.status, answer.deflate) == (101, None)


@pytest.mark.parametrize("name", [b"connection", b"upgrade", b"sec-websocket-protocol", b"sec-websocket-extensions"])
def test_each_byte(name: bytes) -> None:
    # Those that no field has are refused before (RFC 9110, 5.5).
    for byte in [9, *range(32, 127), *range(128, 256)]:
        for value in (b"%c", b"a%cb", b'a;b="%c"', b'a;b="\\%c"', b"a;b=%c"):
            fields = [*USUAL, (name, (value % byte).strip())]
            assert our_answer(fields) == their_answer(fields), fields[-1]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_by_itself(key: bytes) -> None:
    fields = [(name, key if name == b"sec-websocket-key" else value) for name, value in USUAL]
    assert our_answer(fields) == their_answer(fields)


def test_the_key_of_the_example() -> None:
    # 1.3
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
