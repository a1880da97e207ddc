"""Headers of the PROXY protocol that are mutated at random: the parser agrees with a slow one, however they are cut."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterator

import pytest

from tests.proxies.proxy_headers import SIGNATURE, checked, slow_crc32c, tlv, v1, v2, v2_unix
from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.proxies.proxy_protocol import ProxyHeaderError, parse_proxy_header

SEED = 20_261_121
ROUNDS = 8000

V6 = ("2001:db8::5", "::ffff:192.0.2.1")
SEEDS = [
    v1(),
    v1(*V6),
    v1(ports="0 65535"),
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n",
    v2(),
    v2(*V6),
    v2(command=0x20),
    v2(family=0),
    v2_unix(b"/client", b"/server"),
    v2(tlvs=tlv(1, b"h2") + tlv(0x20, b"\1\0\0\0\0")),
    checked(v2(tlvs=tlv(0xEA, b"123"))),
    checked(v2_unix(b"", b"/s")),
    b"GET / HTTP/1.1\r\n\r\n",
]
TOKENS = [
    *(bytes([code]) for code in b"\0\1\x03\x0c\r\n :.0159aAfPX\x11\x12\x20\x21\x22\x31\xff"),
    *(b"\r\n", b"PROXY ", b"TCP4", b"TCP6", b"UNKNOWN", b"65536", b"00", b"::"),
    *(SIGNATURE, tlv(4, b"\0"), tlv(3, b"\0" * 4)),
]

Outcome = tuple[str, Endpoints | None, int]


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        at, size = chance.randrange(len(data) + 1), chance.choice((0, 0, 1, 1, 2, 5))
        data[at : at + size] = chance.choice(TOKENS) if chance.random() < 0.8 else b""
    if data[:12] == SIGNATURE and len(data) >= 16 and chance.random() < 0.7:
        # Most mutations would only be seen to break the length.
        data[14:16] = (len(data) - 16).to_bytes(2, "big")
    return bytes(data)


def samples() -> Iterator[bytes]:
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        yield mutated(SEEDS[number % len(SEEDS)], chance) + chance.choice((b"", b"", b"GET", b"\r\n"))


def outcome(data: bytes, mode: str) -> Outcome:
    try:
        parsed = parse_proxy_header(data, mode)
    except ProxyHeaderError:
        return "bad", None, 0
    return ("short", None, 0) if parsed is None else ("good", *parsed)


# The slow way: from the text of the specification, one step after the other.


def slow_outcome(data: bytes, mode: str) -> Outcome:
    try:
        if mode in ("v2", "auto") and SIGNATURE.startswith(data[:12]):
            return slow_v2(data)
        if mode in ("v1", "auto") and b"PROXY ".startswith(data[:6]):
            return slow_v1(data)
    except (ValueError, IndexError):
        pass
    return "bad", None, 0


def slow_v1(data: bytes) -> Outcome:
    line, end, _ = data[:107].partition(b"\r\n")
    if not end:
        return ("short" if len(data) < 107 else "bad"), None, 0
    size = len(line) + 2
    text = line.decode("latin-1")
    if re.fullmatch(r"PROXY UNKNOWN( .*)?", text, re.DOTALL):
        return "good", None, size
    found = re.fullmatch(r"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*)", text)
    if found is None:
        raise ValueError(text)
    version, source, destination, *ports = found.groups()
    for address in (source, destination):
        if ipaddress.ip_address(address).version != int(version):
            raise ValueError(address)
    numbers = [int(port) for port in ports]
    if max(numbers) > 65535:
        raise ValueError(ports)
    return "good", Endpoints((source, numbers[0]), (destination, numbers[1])), size


def slow_v2(data: bytes) -> Outcome:
    if len(data) < 16:
        return "short", None, 0
    if data[12] not in (0x20, 0x21):
        raise ValueError("version, command")
    length = data[14] * 256 + data[15]
    if 16 + length > 16384:
        raise ValueError("length")
    if len(data) < 16 + length:
        return "short", None, 0
    body = list(data[16 : 16 + length])
    if data[12] == 0x20 or data[13] < 16:
        return "good", None, 16 + length
    parts = {0x11: (4, 4, 2, 2), 0x21: (16, 16, 2, 2), 0x31: (108, 108)}.get(data[13])
    if parts is None or sum(parts) > len(body):
        raise ValueError("family")
    taken = [bytes(body.pop(0) for _ in range(part)) for part in parts]
    secure, at = False, 16 + sum(parts)
    while body:
        kind, size = body.pop(0), body.pop(0) * 256 + body.pop(0)
        value = bytes(body.pop(0) for _ in range(size))
        at += 3 + size
        if kind == 3:
            header = bytearray(data[: 16 + length])
            header[at - size : at] = bytes(size)
            if int.from_bytes(value, "big") != slow_crc32c(bytes(header)) or size != 4:
                raise ValueError("checksum")
        elif kind == 0x20:
            secure = size > 0 and value[0] % 2 == 1
    if data[13] == 0x31:
        path = taken[1].rstrip(b"\0").decode("utf-8", "surrogateescape")
        return "good", Endpoints(None, (path, None), secure), 16 + length
    ends = []
    for address, port in (taken[::2], taken[1::2]):
        number = ipaddress.ip_address(address)
        ends.append((number, int.from_bytes(port, "big")))
    return "good", Endpoints(ends[0], ends[1], secure), 16 + length  # type: ignore[arg-type]  # see comparable()


def comparable(found: Outcome) -> object:
    """Without the spelling of addresses, of which there are several."""
    kind, ends, size = found
    if ends is None:
        return found
    addresses = [end and (ipaddress.ip_address(end[0]), end[1]) for end in (ends.client, ends.client and ends.server)]
    return kind, addresses, ends.client is None and ends.server, ends.secure, size


@pytest.mark.parametrize("mode", ["auto", "v1", "v2"])
def test_the_parser_agrees_with_a_slow_one(mode: str) -> None:
    kinds = set()
    for data in samples():
        found, expected = outcome(data, mode), slow_outcome(data, mode)
        assert comparable(found) == comparable(expected), data
        kinds.add(found[0])
    assert kinds == {"good", "bad", "short"}


def test_it_does_not_depend_on_how_much_has_come() -> None:
    """A beginning is never taken for something that the whole is not; and what is good is good with more behind it."""
    for data in list(samples())[: ROUNDS // 4]:
        found = outcome(data, "auto")
        for end in range(len(data)):
            before = outcome(data[:end], "auto")
            if found[0] == "good":
                assert before == (found if end >= found[2] else ("short", None, 0)), (data, end)
            elif before[0] == "bad":
                assert found[0] == "bad", (data, end)
            else:
                assert before[0] == "short", (data, end)
