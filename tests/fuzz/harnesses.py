"""What a client's bytes are given to, each as one function: only documented errors come out, and nothing stays.

`HARNESSES` has them by name, each with examples. A harness takes any bytes; where there is a fault, it fails an
assertion, raises, or does not return. They are run by tests/fuzz/test_harnesses.py for a moment, and by `python -m
tests.fuzz` for minutes, by coverage where atheris is installed.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.http1.harness import Http1Harness
from tests.http2.harness import Http2Harness
from tests.http2.wire import Client as Http2Client
from tests.http2.wire import frame
from tests.logs.cycles import cycle_of
from tests.proxies.proxy_headers import checked, v1, v2
from tests.scripted import Harness, get, post
from tests.websocket.conftest import deflate
from tests.websocket.wire import Deflater, binary, close, cont, handshake, ping, text
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http2.engine.codes import FrameType
from uvicorn_worker.http2.scheduler import read_priority
from uvicorn_worker.logs.atoms import Atoms, compile_format
from uvicorn_worker.proxies.forwarded import forwarded_elements, parse_node
from uvicorn_worker.proxies.proxy_protocol import ProxyHeaderError, parse_proxy_header
from uvicorn_worker.websocket.frames import Closed, FrameConnection

__all__ = ["HARNESSES", "Fuzzed"]


@dataclass(frozen=True)
class Fuzzed:
    """A function that takes any bytes, and examples of what it is meant for."""

    run: Callable[[bytes], None]
    seeds: list[bytes]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers; leaves a client alone that is gone. A WebSocket gets back what it sends."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
        return
    while (event := await receive())["type"] == "http.request":
        if not event["more_body"]:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return


@functools.cache
def _harness(kind: type[Harness], **options: Any) -> Harness:
    """One server for all inputs: what one of them leaves behind is found by those that follow."""
    harness = kind(app, **options)
    harness.loop.set_exception_handler(_fail)
    return harness


def _fail(loop: Any, context: dict[str, Any]) -> None:
    raise AssertionError(context["message"]) from context.get("exception")


class _Errors(logging.Handler):
    """An error in the log is none of the client's: it is ours."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


def _cut(data: bytes) -> list[bytes]:
    """The input as reads: its first byte says how long each of them is."""
    size = data[0] or len(data)
    return [data[at : at + size] for at in range(1, len(data), size)]


def _connection(data: bytes, harness: Harness) -> None:
    """A connection to a server: it answers, closes or waits, and when the client has left there is nothing of it."""
    if not data:
        return
    client = harness.connect()
    log = logging.getLogger("uvicorn.error")
    handler = _Errors(logging.ERROR)
    log.addHandler(handler)
    raising, log.propagate = log.propagate, False
    try:
        for piece in _cut(data):
            if client.transport.is_closing():
                break
            client.transport.deliver(piece)
            harness.settle()
        client.transport.leave()
        harness.settle()
    finally:
        log.removeHandler(handler)
        log.propagate = raising
    assert not harness.runtime.connections
    assert not harness.runtime.cycles


def http1(data: bytes, parser: str) -> None:
    """A connection that speaks HTTP/1.1."""
    _connection(data, _harness(Http1Harness, parser=parser))


def http2(data: bytes, engine: str) -> None:
    """A connection that speaks HTTP/2: the preface was sent."""
    if data:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(FrameType.SETTINGS)
        _connection(data[:1] + preface + data[1:], _harness(Http2Harness, http2="on", http2_engine=engine))


def switching(data: bytes) -> None:
    """A connection of which it is not known yet what it speaks."""
    _connection(data, _harness(Harness, http2="on"))


def websocket(data: bytes) -> None:
    """Frames, compressed where they say so."""
    if not data:
        return
    connection = FrameConnection(deflate(), 65536)
    for piece in _cut(data):
        for event in connection.receive_data(piece):
            if isinstance(event, Closed):
                assert not connection.open or connection.data_to_send()
                return
            assert len(event) <= 65536
        connection.data_to_send()


def proxy(data: bytes) -> None:
    """A header of the PROXY protocol."""
    for mode in ("v1", "v2", "auto"):
        try:
            parsed = parse_proxy_header(data, mode)
        except ProxyHeaderError:
            continue
        assert parsed is None or 0 < parsed[1] <= len(data)


def forwarded(data: bytes) -> None:
    """The lists of proxies."""
    value = data.decode("latin-1")
    for element in forwarded_elements(value):
        assert all(isinstance(each, str) for each in element.values())
    for node in value.split(","):
        address = parse_node(node.strip())
        assert address is None or 0 <= address[1] < 65536


def priority(data: bytes) -> None:
    """The field `priority`, and PRIORITY_UPDATE."""
    urgency, _ = read_priority(data)
    assert 0 <= urgency <= 7


def access_format(data: bytes) -> None:
    """A format of the operator's, and a request of the client's; errors are those of formatting."""
    form, _, value = data.partition(b"\0")
    if re.search(rb"\d{6}", form):
        # A width that the operator asks for, and gets: memory is all that it would show.
        return
    cycle = cycle_of(get("/?%0A", "X-A: " + value.decode("latin-1").replace("\r", "").replace("\n", "")))
    try:
        line = compile_format(form.decode("latin-1"))(Atoms(cycle))
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError):
        return
    assert isinstance(line, str)


_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
_HTTP1 = [
    b"\0" + get(),
    b"\1" + get("/a%20b?c", "Connection: close"),
    b"\3" + post(b"abc") + get(),
    b"\0" + _CHUNKED,
    b"\7" + _CHUNKED + get(),
    b"\0" + get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    b"\0" + post(b"abc", "Expect: 100-continue"),
    b"\0" + get("http://b/x", "Forwarded: for=1.2.3.4", version="1.0"),
]


def _http2_seeds() -> list[bytes]:
    client = Http2Client()
    return [
        b"\0" + client.request(b"/a"),
        b"\7" + client.request(b"/a") + client.request(b"/b", (b"priority", b"u=1, i")),
        b"\0" + client.post(b"abc") + client.window(10, 1) + client.reset(3),
        b"\0" + frame(FrameType.PING, 0, 0, bytes(8)) + frame(FrameType.PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=2"),
        b"\0" + frame(FrameType.SETTINGS, 0, 0, b"\0\4\0\0\xff\xff") + frame(FrameType.GOAWAY, 0, 0, bytes(8)),
    ]


HARNESSES = {
    "http1-httptools": Fuzzed(functools.partial(http1, parser="httptools"), _HTTP1),
    "http1-h11": Fuzzed(functools.partial(http1, parser="h11"), _HTTP1),
    "http2-native": Fuzzed(functools.partial(http2, engine="native"), _http2_seeds()),
    "http2-h2": Fuzzed(functools.partial(http2, engine="h2"), _http2_seeds()),
    "switching": Fuzzed(
        switching,
        [
            *_HTTP1,
            b"\0" + handshake("/", "Sec-WebSocket-Extensions: permessage-deflate") + text("hello") + close(1000),
            b"\5" + handshake() + text("hello") * 3 + ping(b"x"),
            b"\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(FrameType.SETTINGS) + _http2_seeds()[0][1:],
        ],
    ),
    "websocket": Fuzzed(
        websocket,
        [
            b"\0" + text("hello") + binary(b"abc") + close(1000, "bye"),
            b"\2" + text("he", fin=False) + ping(b"x") + cont("llo"),
            b"\0" + Deflater().message(b"hello" * 100),
            b"\0" + binary(bytes(300)),
        ],
    ),
    "proxy": Fuzzed(proxy, [v1(), v2(), checked(v2()), b"PROXY UNKNOWN\r\n"]),
    "forwarded": Fuzzed(
        forwarded,
        [b'for=192.0.2.1;proto=https, for="[2001:db8::1]:80"', b"192.0.2.1, 10.0.0.1:80, unknown", b'for="_a\\"b"'],
    ),
    "priority": Fuzzed(priority, [b"u=1, i", b"i=?0, u=7;a=b", b'a="x\\", u=3"', b"u=9"]),
    "access-format": Fuzzed(
        access_format, [b'%(h)s "%(r)s" %(s)s %(D)d %({x-a}i)s\0value', b"%(t)s %({a}o)s %({b}e)s", b"%%(h)s %s"]
    ),
}
