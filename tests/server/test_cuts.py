"""An exchange of each protocol, cut at every byte: no traceback, and nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.http2.wire import Client as Http2Client
from tests.http2.wire import frame
from tests.proxies.proxy_headers import checked, v1, v2
from tests.scripted import get, post
from tests.server.cutting import HOWS, Cut, CuttingProxy
from tests.server.running import App, Running, until
from tests.sockets import PATIENCE, Run
from tests.websocket.wire import close, handshake, text
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.kernel import is_uvloop
from uvicorn_worker.http2.engine.codes import FrameType

Log = Callable[..., list[str]]

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate"


def http2(*, extended: bool = False, prefaced: bool = True) -> list[bytes]:
    """Requests with prior knowledge; or a WebSocket, whose frames are in DATA."""
    client = Http2Client()
    start = client.preface() if prefaced else b""
    if not extended:
        return [start + client.request(b"/a"), client.post(b"abc" * 20), frame(FrameType.GOAWAY, 0, 0, bytes(8))]
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/")]
    fields += [(b":authority", b"a"), (b"sec-websocket-version", b"13")]
    return [
        start + client.headers(1, fields, end=False),
        client.data(1, text("hello")),
        client.data(1, close(1000), end=True) + frame(FrameType.GOAWAY, 0, 0, bytes(8)),
    ]


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
EXCHANGES = {
    "keep-alive": [get("/a"), post(b"x" * 50), get("/b", "Connection: close")],
    "chunked": [CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n", get("/", "Connection: close")],
    "websocket": [handshake("/", EXTENSION), text("hello"), close(1000)],
    "h2c": http2(),
    "h2c upgrade": [get("/", *UPGRADE), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(FrameType.SETTINGS), *http2()[2:]],
    "websocket over h2c": http2(extended=True),
}


@dataclass(frozen=True)
class Case:
    """An exchange, how far apart its cuts are, and what reads it."""

    exchange: str
    options: dict[str, str] = field(default_factory=dict)
    # What a proxy says before it.
    header: bytes = b""
    step: int = 1

    @property
    def pieces(self) -> list[bytes]:
        first, *rest = EXCHANGES[self.exchange]
        return [self.header + first, *rest]


H11 = {"http": "h11"}
H2 = {"http2_engine": "h2"}
PROXY = {"proxy_protocol": "auto", "proxy_allow_ips": "*"}
IN_CLEARTEXT = {
    **{name: Case(name) for name in EXCHANGES},
    **{f"{name}, h11": Case(name, H11) for name in ("keep-alive", "chunked", "websocket", "h2c upgrade")},
    **{f"{name}, h2": Case(name, H2) for name in ("h2c", "h2c upgrade", "websocket over h2c")},
    "PROXY 1": Case("keep-alive", PROXY, v1()),
    "PROXY 2": Case("keep-alive", PROXY, checked(v2())),
    "PROXY 2 before h2c": Case("h2c", PROXY, v2()),
}
# Over TLS most of the bytes are those of the handshake, which is the same each time.
OVER_TLS = {
    "keep-alive": Case("keep-alive", step=41),
    "keep-alive, h11": Case("keep-alive", H11, step=67),
    "websocket": Case("websocket", step=41),
    "h2": Case("h2c", step=41),
    "h2, h2": Case("h2c", H2, step=67),
    "websocket over h2": Case("websocket over h2c", step=41),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all there is, answers with it; a client that leaves is none of its business."""
    with contextlib.suppress(OSError):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({**event, "type": "websocket.send"})
            return
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"you said ", "more_body": True})
                await send({"type": "http.response.body", "body": body})
                return


async def play(port: int, pieces: list[bytes], tls: ssl.SSLContext | None) -> tuple[int, int]:
    """Send each piece and wait for an answer, until the connection ends; how many bytes went there and back."""
    sent = received = 0
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        for piece in pieces:
            writer.write(piece)
            sent += len(piece)
            if not (data := await reader.read(65536)):
                break
            received += len(data)
        else:
            if not tls:
                writer.write_eof()
            received += len(await reader.read())
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
        pass
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
    return sent, received


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Site:
    """A server behind the proxy, and what there was before anybody came."""

    def __init__(self, running: Running, proxy: CuttingProxy, tls: ssl.SSLContext | None) -> None:
        self.running = running
        self.proxy = proxy
        self.tls = tls

    async def cut(self, pieces: list[bytes], cut: Cut) -> tuple[int, int]:
        self.proxy.cut = cut
        return await asyncio.wait_for(play(self.proxy.port, pieces, self.tls), PATIENCE)

    async def is_quiet(self) -> None:
        """Nothing is under way any more."""
        runtime = self.running.server.own_runtime
        await until(lambda: not (self.proxy.open or runtime.connections or runtime.cycles))
        assert not self.running.server.own_acceptor.pending


def timers(loop: Any) -> int | None:
    """Timers of the loop that are not cancelled; None where it does not say."""
    scheduled = getattr(loop, "_scheduled", None)
    return None if scheduled is None else sum(not each.cancelled() for each in scheduled)


async def all_cuts(site: Site, pieces: list[bytes], step: int) -> None:
    # Once as a whole, which says how long it is, and makes what is made once.
    sent, received = await site.cut(pieces, Cut(1 << 30, "split"))
    assert sent == sum(map(len, pieces))
    assert received
    await site.is_quiet()
    tasks, files, pending = len(asyncio.all_tasks()), open_files(), timers(asyncio.get_running_loop())
    await site.cut(pieces, Cut(0, "bytes"))
    for at in range(0, sent + 1, step):
        for number, how in enumerate(HOWS[:4]):
            # Each byte for the most usual end, each fourth for the others.
            if how == "close" or (at // step + number) % 4 == 0:
                await site.cut(pieces, Cut(at, how))
    for number, at in enumerate(range(1, received + 1, step * 3)):
        await site.cut(pieces, Cut(at, HOWS[number % 3], of_server=True))
    await site.is_quiet()
    await until(lambda: len(asyncio.all_tasks()) <= tasks and open_files() <= files)
    if pending is not None:
        await until(lambda: (timers(asyncio.get_running_loop()) or 0) <= pending)


def check(run: Run, case: Case, log: Log, certificate: Path | None = None) -> None:
    options: dict[str, Any] = {"http2": "on", **case.options}
    tls = None
    if certificate is not None:
        options["ssl_certfile"] = str(certificate)
        tls = ssl.create_default_context(cafile=str(certificate))
        tls.check_hostname = False
        tls.set_alpn_protocols(["h2" if "h2c" in case.exchange else "http/1.1"])

    async def main() -> None:
        running = Running(App(app), **options)
        async with running, CuttingProxy(running.sock.getsockname()[1]) as proxy:
            # The loop of asyncio takes longer, and does the same.
            slower = 1 if is_uvloop(asyncio.get_running_loop()) else 5
            await all_cuts(Site(running, proxy, tls), case.pieces, case.step * slower)

    run(main())
    assert log(logging.ERROR) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in Linux's /proc")
class TestCuts:
    @pytest.mark.parametrize("name", IN_CLEARTEXT)
    def test_in_cleartext(self, run: Run, name: str, log: Log) -> None:
        check(run, IN_CLEARTEXT[name], log)

    @pytest.mark.parametrize("name", OVER_TLS)
    def test_over_tls(self, run: Run, name: str, log: Log, certificate: Path) -> None:
        check(run, OVER_TLS[name], log, certificate)
