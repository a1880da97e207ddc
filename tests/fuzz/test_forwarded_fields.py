"""Fields of proxies, made at random: a client is found as by a slow way, and what a client writes does not matter."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from tests.http1.apps import hello
from uvicorn_worker import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.proxies.forwarded import OriginReader
from uvicorn_worker.proxies.trust import Trust

SEED = 20_261_122
ROUNDS = 8000

PROXIES = ["10.0.0.0/8", "2001:db8:aa::/48", "192.0.2.1"]
TRUSTED = ["10.0.0.2", "10.9.9.9", "2001:db8:aa::1", "192.0.2.1", "::ffff:10.0.0.3"]
STRANGERS = ["203.0.113.5", "2001:db8:bb::1", "192.0.2.2", "::ffff:203.0.113.5"]
GARBAGE = ["unknown", "_hidden", "a b", "1.2.3", "[::1", "'", '"', "=", ";", "\\", '"\\', '="', 'for="', "\x80", ";;"]


def made(wanted: str) -> OriginReader:
    return OriginReader(Config(app=hello, forwarded_headers=wanted), Trust(PROXIES))


def with_port(host: str, chance: random.Random) -> tuple[str, int]:
    port = chance.choice((0, 0, 1, 65535))
    bracketed = f"[{host}]" if ":" in host else host
    return (f"{bracketed}:{port}", port) if port else (chance.choice((host, bracketed)), 0)


def slow_client(hops: list[tuple[str, str | None, int]]) -> Any:
    """From the leftmost on: who is the client if all to the right of it are trusted?"""
    for at in range(len(hops)):
        _, host, port = hops[at]
        behind = [other for _, other, _ in hops[at + 1 :]]
        if host is not None and all(other is not None and is_trusted(other) for other in behind):
            return host, port
    return None


def is_trusted(host: str) -> bool:
    address = ipaddress.ip_address(host)
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in ipaddress.ip_network(network) for network in PROXIES)


def test_the_client_of_x_forwarded_for() -> None:
    chance = random.Random(SEED)
    reader = made("for")
    for _ in range(ROUNDS):
        hops: list[tuple[str, str | None, int]] = []
        for _ in range(chance.randrange(6)):
            if chance.random() < 0.15:
                hops.append((chance.choice(GARBAGE), None, 0))
            else:
                host = chance.choice(TRUSTED + TRUSTED + STRANGERS)
                text, port = with_port(host, chance)
                hops.append((text, host, port))
        value = chance.choice((", ", ",", " ,\t, ")).join(text for text, _, _ in hops)
        changes = reader.read(((b"x-forwarded-for", value.encode("latin-1")),)).changes
        assert changes.get("client") == slow_client(hops), value


def test_what_a_client_writes_does_not_matter() -> None:
    """Whatever stands there before a trusted proxy adds its own: that is what counts."""
    chance = random.Random(SEED)
    reader = made("for,proto,forwarded")
    ends = {
        "for=203.0.113.5;proto=https": ("203.0.113.5", 0),
        'for="[2001:db8:bb::1]:99";proto=https;by=_x': ("2001:db8:bb::1", 99),
        'host="a, b";for=203.0.113.5:7;proto=https, for=10.0.0.2;proto=http': ("203.0.113.5", 7),
        'for="203.0.113.5";proto=https, for="[2001:db8:aa::1]";proto=http;host=x': ("203.0.113.5", 0),
    }
    pieces = [
        *GARBAGE,
        *TRUSTED,
        "for=10.0.0.2",
        "for=198.51.100.1",
        "proto=http",
        ",",
        ", ",
        ";",
        '"',
        '\\"',
        "x=",
        "=",
    ]
    for number in range(ROUNDS):
        forged = "".join(chance.choice(pieces) for _ in range(chance.randrange(12)))
        value, client = list(ends.items())[number % len(ends)]
        fields = [(b"forwarded", f"{forged}, {value}".encode("latin-1"))]
        if chance.random() < 0.3:
            fields = [(b"forwarded", forged.encode("latin-1")), (b"forwarded", value.encode("latin-1"))]
        assert reader.read(tuple(fields)).changes == {"client": client, "scheme": "https"}, forged


def noise(chance: random.Random, most: int) -> bytes:
    """What a parser of field values lets through."""
    return bytes(chance.choice(b'\t !",/0:;=?@AZ[\\]_az~\x80\xff') for _ in range(chance.randrange(most)))


def test_nothing_but_a_refusal_is_raised() -> None:
    chance = random.Random(SEED)
    reader = made("for,proto,host,port,prefix,forwarded")
    names = sorted(reader.names)
    for _ in range(ROUNDS):
        fields = [(chance.choice(names), noise(chance, 30)) for _ in range(chance.randrange(5))]
        scope: dict[str, Any] = {
            "server": chance.choice((None, ("/s", None), ("127.0.0.1", 80))),
            "scheme": "http",
            "root_path": "/r",
            "path": "/r/x",
            "raw_path": b"/r/x",
            "headers": [(b"host", noise(chance, 4))],
        }
        try:
            origin = reader.read(tuple(fields))
        except RequestRefused:
            continue
        if origin.rewrite is not None:
            origin.rewrite(scope, b"/r")
        assert scope["path"].endswith("/x")
        assert scope["raw_path"].isascii()
