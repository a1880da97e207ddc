"""Heads of requests that are plain, and blocks like one before: what is read of them is what is read field by field."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hpack import Encoder

from uvicorn_worker.http2.engine import plain_heads
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.native import hpack
from uvicorn_worker.http2.engine.native.hpack import HeaderDecoder
from uvicorn_worker.http2.engine.native.patterns import MOST_STRINGS
from uvicorn_worker.http2.engine.plain_heads import plain_head
from uvicorn_worker.http2.engine.request_heads import Malformed, read_head, request_head

Field = tuple[bytes, bytes]

PSEUDO = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.org"), (b":path", b"/")]
BROWSER = [(b"accept", b"*/*"), (b"user-agent", b"test"), (b"te", b"trailers"), (b"x-id", b"1")]
BOUND = 10_000


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is of the process."""
    for name in ("_starts", "_sound", "_names"):
        monkeypatch.setattr(plain_heads, name, {})


def said(head: RequestHead | None) -> Any:
    """All that a head tells but how it was read."""
    return head and {name: getattr(head, name) for name in head.__slots__ if name not in ("derived", "kept", "longest")}


def read(fields: list[Field]) -> Any:
    try:
        return said(read_head(fields))
    except Malformed as exc:
        return str(exc)


def longest_of(head: RequestHead) -> int:
    return max((len(name) + len(value) for name, value in head.headers), default=0)


def check_plain(fields: list[Field]) -> bool:
    """Whether a list is taken, in which case it says what it says field by field."""
    head = plain_head(fields)
    if head is None:
        return False
    assert said(head) == read(fields)
    assert head.longest == longest_of(head)
    assert not any(b"_" in name or name == b"expect" for name, _ in head.headers)
    return True


def with_target(target: bytes) -> list[Field]:
    return [*PSEUDO[:3], (b":path", target)]


TAKEN = {
    "the same": [*PSEUDO, *BROWSER],
    "no fields": PSEUDO,
    "another order": [*PSEUDO[::-1], *BROWSER[::-1]],
    "another target": [*with_target(b"/a?b=c#d"), *BROWSER],
    "another value": [*PSEUDO, (b"accept", b"text/html, a"), *BROWSER],
    "no value": [*PSEUDO, (b"accept", b"")],
    "cookie": [*PSEUDO, *BROWSER, (b"cookie", b"a=b")],
    "authorization": [*PSEUDO, *BROWSER, (b"authorization", b"Bearer x"), (b"authorization", b"Bearer y")],
    "priority": [*PSEUDO, *BROWSER, (b"priority", b"u=1, i")],
    "content-length": [*PSEUDO, *BROWSER, (b"content-length", b"0015")],
    "twice": [*PSEUDO, *BROWSER, *BROWSER],
    "large": [*PSEUDO, (b"accept", b"x" * 5000)],
}
LEFT = {
    "nothing": [],
    "another method": [(b":method", b"PUT"), *PSEUDO[1:]],
    "another scheme": [PSEUDO[0], (b":scheme", b"https"), *PSEUDO[2:]],
    "a wrong authority": [*PSEUDO[:2], (b":authority", b"a@b"), PSEUDO[3]],
    "no target": PSEUDO[:3],
    "an empty target": with_target(b""),
    "a space in the target": with_target(b"/a b"),
    "a high byte in the target": with_target(b"/\xff"),
    "a pseudo-field twice": [*PSEUDO, PSEUDO[0]],
    "a pseudo-field behind": [PSEUDO[0], *PSEUDO[2:], *BROWSER, PSEUDO[1]],
    "a field among them": [*PSEUDO[:3], BROWSER[0], PSEUDO[3]],
    "a protocol": [(b":method", b"CONNECT"), *PSEUDO[1:], (b":protocol", b"websocket")],
    "connect": [(b":method", b"CONNECT"), PSEUDO[2]],
    "an unknown name": [*PSEUDO, (b"x-other", b"1")],
    "an underscore": [*PSEUDO, (b"x_y", b"1")],
    "upper case": [*PSEUDO, (b"Accept", b"*/*")],
    "a space behind": [*PSEUDO, (b"accept", b"a ")],
    "a tab within": [*PSEUDO, (b"accept", b"a\tb")],
    "a tab before": [*PSEUDO, (b"accept", b"\tb")],
    "a control": [*PSEUDO, (b"accept", b"a\0")],
    "a high byte": [*PSEUDO, (b"accept", b"\xe9")],
    "a line": [*PSEUDO, (b"accept", b"a\r\nb")],
    "crumbs": [*PSEUDO, (b"cookie", b"a=b"), (b"cookie", b"c=d")],
    "two lengths": [*PSEUDO, (b"content-length", b"1"), (b"content-length", b"1")],
    "a wrong length": [*PSEUDO, (b"content-length", b"+1")],
    "two priorities": [*PSEUDO, (b"priority", b"u=1"), (b"priority", b"i")],
    "expect": [*PSEUDO, (b"expect", b"100-continue")],
    "host": [*PSEUDO, (b"host", b"example.org")],
    "te": [*PSEUDO, (b"te", b"gzip")],
    "connection": [*PSEUDO, (b"connection", b"close")],
}


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN)
def test_a_plain_head_says_the_same(fields: list[Field]) -> None:
    assert not check_plain(fields)
    read_head([*PSEUDO, *BROWSER])
    read_head([*PSEUDO, *BROWSER, (b"cookie", b"a=b"), (b"priority", b"i"), (b"content-length", b"1")])
    assert check_plain(fields)


@pytest.mark.parametrize("fields", LEFT.values(), ids=LEFT)
def test_any_other_is_read_field_by_field(fields: list[Field]) -> None:
    read_head([*PSEUDO, *BROWSER])
    assert not check_plain(fields)
    expected = read(fields)
    # What was learned from it changes nothing.
    assert check_plain(fields) == (fields in LEARNED)
    assert read(fields) == expected


SOON_KNOWN = ["another method", "another scheme", "an unknown name", "a tab within", "a high byte"]
LEARNED = [LEFT[name] for name in SOON_KNOWN]
NAMES = [*(name for name, _ in [*PSEUDO, *BROWSER]), b"cookie", b"content-length", b"priority", b"host", b"x_y", b"X"]
VALUES = [*(value for _, value in [*PSEUDO, *BROWSER]), b"", b" ", b"5", b"u=1", b"\xff", b"\0", b"CONNECT", b"a b"]


@pytest.mark.parametrize("seed", range(4))
def test_lists_made_up(seed: int) -> None:
    chance, taken = random.Random(seed), 0
    for _ in range(5000):
        start = PSEUDO.copy()
        chance.shuffle(start)
        rest = [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(chance.randrange(4))]
        fields = [*start[: chance.choice([4, 4, 4, 3])], *rest]
        taken += check_plain(fields)
        read(fields)
    assert taken


def test_no_more_is_remembered_than_so_much() -> None:
    for number in range(5000):
        text = b"%d" % number
        request_head(
            [*PSEUDO[:2], (b":authority", text), PSEUDO[3], (b"x-" + text, text), (b"accept", text), BROWSER[1]]
        )
        request_head([*PSEUDO, (b"user-agent", b"x" * 5000)])
        assert len(plain_heads._starts) <= 256
        assert len(plain_heads._names) <= 512
        assert len(plain_heads._sound) <= 1024
    assert max(len(name) + len(value) for name, value in plain_heads._sound) <= 256


def test_secrets_are_not_remembered() -> None:
    names = (b"cookie", b"authorization", b"proxy-authorization")
    for _ in range(3):
        request_head([*PSEUDO, *BROWSER, *((name, b"secret") for name in names)])
    assert not {name for name, _ in plain_heads._sound} & {*names}
    assert not {*plain_heads._names} & {*names}


def test_values_that_are_others_each_time_leave_the_room_to_others() -> None:
    read_head([*PSEUDO, *BROWSER])
    for number in range(900):
        assert check_plain([*PSEUDO, *BROWSER, (b"x-id", b"%d" % number)])
    assert sum(name == b"x-id" for name, _ in plain_heads._sound) < 70
    assert BROWSER[0] in plain_heads._sound


# Blocks ---------------------------------------------------------------------------------------------------


def literal(name: bytes, value: bytes) -> Any:
    """A field that does not go into the table."""
    return (name, value, True)


class Side:
    """A client's table, and ours, which is asked as the engine asks it."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = HeaderDecoder(BOUND)
        self.reference = HeaderDecoder(BOUND)
        self.found = 0

    def send(self, fields: list[Any], change: tuple[int, bytes] | None = None) -> Any:
        block = bytes(self.encoder.encode(fields))
        if change is not None:
            at = change[0] % len(block)
            block = block[:at] + change[1] + block[at + 1 :]
        here, there = self._head(block), self._decode(self.reference, block)
        if isinstance(there, list):
            there = read(there)
        assert here == there
        return here

    def _head(self, block: bytes) -> Any:
        decoder = self.decoder
        head = decoder.heads.get(block) or decoder.find(block)
        if head is not None:
            self.found += 1
            # It is not known of one that was read field by field, and is kept.
            assert head.longest in (-1, longest_of(head))
            return said(head)
        changes = decoder.changes
        fields = self._decode(decoder, block)
        if not isinstance(fields, list):
            return fields
        try:
            head = request_head(fields)
        except Malformed as exc:
            return str(exc)
        if decoder.changes == changes:
            decoder.remember(block, head)
        return said(head)

    @staticmethod
    def _decode(decoder: HeaderDecoder, block: bytes) -> Any:
        try:
            return decoder.decode(block)
        except Http2ConnectionError as exc:
            return str(exc)


def request(number: int, kind: str) -> list[Any]:
    text = b"%d" % number
    match kind:
        case "target":
            return [*PSEUDO[:3], literal(b":path", b"/items/" + text)]
        case "between":
            return [*PSEUDO[:2], literal(b":path", b"/" + text), PSEUDO[2], *BROWSER]
        case "fields":
            return [*PSEUDO, BROWSER[0], literal(b"x-id", text), *BROWSER[1:3], literal(b"cookie", b"a=" + text)]
        case "length":
            return [*PSEUDO, literal(b"content-length", text), *BROWSER, literal(b"priority", b"u=" + text[-1:])]
        case "te":
            return [*PSEUDO, literal(*BROWSER[2]), literal(b":path" if number == 7 else b"accept", text)]
        case "method":
            return [literal(b":method", b"GET" if number % 2 else b"PUT"), *PSEUDO[1:3], literal(b":path", b"/" + text)]
        case "authority":
            return [*PSEUDO[:2], literal(b":authority", text), literal(b":path", b"/" + text)]
        case "many":
            return [*PSEUDO, *[literal(b"x-id", text)] * (MOST_STRINGS + 1)]
        case "large":
            return [*PSEUDO, literal(b"x-id", text * 500)]
        case _:
            return [*PSEUDO[:3], (b":path", b"/" + text), *BROWSER]


KINDS = ["target", "between", "fields", "length"]
OTHERS = ["te", "method", "authority", "many", "large", "into the table"]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_like_one_before_are_found(kind: str) -> None:
    side = Side()
    for number in range(20):
        side.send(request(number, kind))
    # The first fills the table, and the second is learned from.
    assert side.found >= 16


@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
@pytest.mark.parametrize(
    "value", [b"a b", b"", b" a", b"a\t", b"\xff", b"a\0", b"x" * 300, b"x" * 9000, b"+1", b"gzip"]
)
def test_whatever_the_value(kind: str, value: bytes) -> None:
    for name in (b":path", b"x-id", b"cookie", b"content-length", b"priority", b"te", b"accept"):
        side = Side()
        for number in range(4):
            side.send(request(number, kind))
        fields = [literal(name, value) if field[0] == name else field for field in request(9, kind)]
        side.send(fields)
        side.send(fields)
        side.send(request(10, kind))


@pytest.mark.parametrize("seed", range(6))
def test_conversations(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        side = Side()
        kinds = chance.choices([*KINDS, *OTHERS], k=chance.randrange(1, 4))
        for number in range(12):
            side.send(request(chance.choice([number, 3]), chance.choice(kinds)))
        # A client's table may be another one then, so it is the last.
        change = bytes([chance.randrange(256)])
        side.send(request(99, chance.choice(kinds)), (chance.randrange(100), change))


def test_patterns_go_with_the_table_and_with_idleness() -> None:
    side = Side()
    for number in range(5):
        side.send(request(number, "target"))
    assert side.decoder._patterns
    side.decoder.forget()
    assert not side.decoder._patterns
    for number in range(10, 15):
        side.send(request(number, "target"))
    assert side.decoder._patterns
    side.send([*PSEUDO, (b"new", b"1")])
    assert not side.decoder._patterns


@pytest.mark.parametrize("between", [[(b"x-checksum", b"0")], [*PSEUDO[:3], (b":path", b"/"), (b"x ", b"0")]])
def test_what_a_block_is_like_is_learned_from_its_own_strings(between: list[Field]) -> None:
    """Not from those of trailers, or of a malformed request, which were decoded before it."""
    side = Side()
    for number in range(4):
        side.send(request(number, "target"))
    patterns = side.decoder._patterns.copy()
    assert patterns
    block = bytes(side.encoder.encode([literal(*field) for field in between]))
    assert side.decoder.decode(block) == side.reference.decode(block) == between
    for number in range(4, 8):
        side.send(request(number, "target"))
    assert side.decoder._patterns == patterns


def test_no_more_patterns_than_some() -> None:
    side = Side()
    for number in range(30):
        side.send([*PSEUDO[:3], literal(b":path", b"/"), *BROWSER[: number % 4], *[BROWSER[0]] * number])
        assert len(side.decoder._patterns) <= hpack._PATTERNS
