"""Frames, PROXY headers and lists of proxies: twice as long is at most twice the work, also a byte at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

import pytest

from tests.cost.counting import MOST, calls_of
from tests.http2.conftest import ENGINES, Pair, engine_class
from tests.http2.wire import Client, frame
from tests.websocket.conftest import deflate
from tests.websocket.wire import Deflater, binary, cont, handshake, text
from tests.websocket.wire import ping as websocket_ping
from uvicorn_worker.core.config import Config
from uvicorn_worker.http2.engine.codes import FrameType
from uvicorn_worker.proxies.forwarded import OriginReader
from uvicorn_worker.proxies.proxy_protocol import SIGNATURE, ProxyHeaderError, parse_proxy_header
from uvicorn_worker.proxies.trust import Trust
from uvicorn_worker.websocket.frames import FrameConnection
from uvicorn_worker.websocket.handshake import negotiate

SIZES = (400, 800)

END_HEADERS = 4


def split_headers(client: Client, size: int) -> bytes:
    """A head in a frame and a few of CONTINUATION: of many the engines say that it is a flood."""
    block = client.block([*client.request_fields(b"/"), *((b"x-%d" % at, b"y") for at in range(size // 8))])
    each = len(block) // 4
    pieces = [block[at : at + each] for at in range(0, len(block), each)]
    kinds = [FrameType.HEADERS, *[FrameType.CONTINUATION] * (len(pieces) - 1)]
    return b"".join(
        frame(kind, (END_HEADERS if at == len(pieces) - 1 else 0) | (at == 0), 1, piece)
        for at, (kind, piece) in enumerate(zip(kinds, pieces, strict=True))
    )


def updates(client: Client, size: int) -> bytes:
    return b"".join(client.priority_update(1, b"u=%d" % (at % 8)) for at in range(size // 8))


def crumbs(client: Client, size: int) -> bytes:
    return client.request(b"/", *((b"cookie", b"a=%d" % at) for at in range(size // 8)))


def small_data(client: Client, size: int) -> bytes:
    return client.request(b"/", method=b"POST", end=False) + client.data(1, b"a") * (size // 8)


HTTP2: dict[str, Callable[[Client, int], bytes]] = {
    "many fields": lambda client, size: client.request(b"/", *((b"x-%d" % at, b"y" * 20) for at in range(size // 10))),
    "one long field": lambda client, size: client.request(b"/", (b"x", b"y" * size * 10)),
    "cookies in crumbs": crumbs,
    "continuation": split_headers,
    "a long priority": lambda client, size: client.request(b"/", (b"priority", b'a="\\"", ' * size)),
    "priority updates": updates,
    "a long priority update": lambda client, size: client.priority_update(1, b"a, " * size),
    "settings": lambda client, size: client.settings({at + 100: at for at in range(size // 8)}),
    "pings": lambda client, size: client.ping() * (size // 20),
    "small data": small_data,
    "empty windows": lambda client, size: client.window(1) * (size // 20),
}


@pytest.mark.parametrize("each", [1, None])
@pytest.mark.parametrize("name", HTTP2)
@pytest.mark.parametrize("engine", ENGINES)
def test_http2(engine: str, name: str, each: int | None) -> None:
    costs = []
    for size in SIZES:
        pair = Pair(engine_class(engine))
        costs.append(calls_of(partial(pair.deliver, HTTP2[name](pair.client, size), each=each)))
        assert not any(type(event).__name__ == "ConnectionFailed" for event in pair.events)
    assert costs[1] <= costs[0] * MOST


WEBSOCKET: dict[str, Callable[[int], bytes]] = {
    "small messages": lambda size: text("a") * size,
    "empty messages": lambda size: binary(b"") * size,
    "one long message": lambda size: text("a" * size * 20),
    "fragments": lambda size: text("a", fin=False) + cont("b", fin=False) * size + cont("c"),
    "pings": lambda size: websocket_ping(b"a") * size,
    "characters of several bytes": lambda size: text("𝄞" * size),
}


@pytest.mark.parametrize("each", [1, None])
@pytest.mark.parametrize("name", WEBSOCKET)
def test_websocket(name: str, each: int | None) -> None:
    costs = []
    for size in SIZES:
        connection, data = FrameConnection(None, 1_000_000), WEBSOCKET[name](size)
        costs.append(calls_of(partial(receive, connection, data, each or len(data))))
        assert connection.open
    assert costs[1] <= costs[0] * MOST


def receive(connection: FrameConnection, data: bytes, each: int) -> None:
    for at in range(0, len(data), each):
        connection.receive_part(data[at : at + each])


def test_websocket_deflate() -> None:
    costs = []
    for size in SIZES:
        deflater = Deflater()
        data = b"".join(deflater.message(b"x" * 10) for _ in range(size))
        connection = FrameConnection(deflate(), 1_000_000)
        costs.append(calls_of(partial(receive, connection, data, 100)))
        assert connection.open
    assert costs[1] <= costs[0] * MOST


HANDSHAKES = {
    "extensions": ("sec-websocket-extensions", "permessage-deflate; server_max_window_bits=7, "),
    "parameters": ("sec-websocket-extensions", "x; " + "a=b; "),
    "quoted parameters": ("sec-websocket-extensions", 'x; a="b", '),
    "subprotocols": ("sec-websocket-protocol", "a, "),
    "options of the connection": ("connection", "a, "),
    "protocols": ("upgrade", "a, "),
    "commas": ("sec-websocket-extensions", ", "),
    "blanks": ("sec-websocket-extensions", "x" + " " * 20 + ";"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshakes(name: str) -> None:
    field, piece = HANDSHAKES[name]
    costs = []
    for size in SIZES:
        head = handshake("/", f"{field}: {piece * (size // 8)}x").partition(b"\r\n")[2]
        lines = (line.partition(b": ") for line in head.split(b"\r\n") if line)
        headers = [(name.lower(), value) for name, _, value in lines]
        costs.append(calls_of(partial(negotiate, Config(app), headers)))
    assert costs[1] <= costs[0] * MOST


LISTS = {
    "addresses": (b"x-forwarded-for", b"10.0.0.1, "),
    "commas": (b"x-forwarded-for", b","),
    "blanks": (b"x-forwarded-for", b" "),
    "elements": (b"forwarded", b"for=10.0.0.1, "),
    "pairs": (b"forwarded", b"for=10.0.0.1;"),
    "quotes": (b"forwarded", b'"'),
    "escapes": (b"forwarded", b'for="\\"'),
    "semicolons": (b"forwarded", b";"),
}


async def app(scope: object, receive: object, send: object) -> None:
    """Never called."""


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_proxies(name: str) -> None:
    field, piece = LISTS[name]
    costs = []
    for size in SIZES:
        config = Config(app=app, forwarded_headers="for,proto,host,port,prefix,forwarded", forwarded_allow_ips="*")
        reader = OriginReader(config, Trust("10.0.0.0/8"))
        costs.append(calls_of(partial(reader.read, ((field, piece * size),))))
    assert costs[1] <= costs[0] * MOST


def tlvs(size: int) -> bytes:
    """A header of version 2 with as many additions."""
    body = bytes(12) + struct.pack("!BHB", 0xE0, 1, 0) * size
    return SIGNATURE + bytes([0x21, 0x11]) + struct.pack("!H", len(body)) + body


PROXY: dict[str, Callable[[int], bytes]] = {
    "additions": tlvs,
    "a line without an end": lambda size: b"PROXY TCP4 " + b"1" * size,
}


@pytest.mark.parametrize("name", PROXY)
def test_proxy_headers(name: str) -> None:
    costs = []
    for size in SIZES:
        data = PROXY[name](size)

        def parse(data: bytes = data) -> None:
            try:
                parse_proxy_header(data, "auto")
            except ProxyHeaderError:
                pass

        costs.append(calls_of(parse))
    assert costs[1] <= costs[0] * MOST
