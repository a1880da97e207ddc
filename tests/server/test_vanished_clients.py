"""Clients that vanish without a word: no FIN, no reset, and nobody confirms what is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import Recorder
from tests.http2.wire import Client as Http2Client
from tests.scripted import get
from tests.server.conftest import serving
from tests.server.running import App, until
from tests.sockets import Peer, Run, listen
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="clients vanish by a filter of Linux"),
    # What was cut could not say goodbye.
    pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning"),
]

Log = Callable[..., list[str]]

# All of what is sent in a test is less than what the kernel takes for a client.
EVENT = b"data: tick\n\n"


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """A small event each moment, for as long as there is somebody."""
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": EVENT})
            await asyncio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while True:
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        await asyncio.sleep(0.02)


def vanish(peer: Peer) -> None:
    """From now on the kernel drops whatever comes for this client: nothing is confirmed."""
    drop = array("B", struct.pack("HBBI", 0x06, 0, 0, 0))
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, drop.buffer_info()[0]))  # SO_ATTACH_FILTER


def over_http2(*, websocket: bool = False) -> bytes:
    """The first bytes of a client of HTTP/2 with one request."""
    client = Http2Client()
    if not websocket:
        return client.preface() + client.request(b"/")
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":path", b"/")]
    fields += [(b":authority", b"a"), (b"sec-websocket-version", b"13")]
    return client.preface() + client.headers(1, fields, end=False)


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (get(), {}),
        (handshake(), {}),
        (over_http2(), {"http2": "on", "http2_engine": "native"}),
        (over_http2(), {"http2": "on", "http2_engine": "h2"}),
        (over_http2(websocket=True), {"http2": "on"}),
    ],
    ids=["stream", "WebSocket", "HTTP/2", "HTTP/2, h2", "WebSocket over HTTP/2"],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_stream_of_small_events_ends(
    run: Run, log: Log, request: pytest.FixtureRequest, request_: bytes, options: dict[str, Any], tls: bool
) -> None:
    recorder = Recorder(events)
    options = {"timeout_write": 1, "ws_ping_interval": None, **options}
    client_side = None
    if tls:
        certificate: Path = request.getfixturevalue("certificate")
        options["ssl_certfile"] = str(certificate)
        client_side = ssl.create_default_context(cafile=certificate)
        client_side.set_alpn_protocols(["h2" if "http2" in options else "http/1.1"])

    async def main() -> None:
        sock = listen()
        async with serving(App(recorder), sock, **options) as server:
            stays, leaves = await Peer.connect(sock, client_side), await Peer.connect(sock, client_side)
            for peer in (stays, leaves):
                peer.send(request_)
                await peer.reader.readuntil(b"tick")
            reading = asyncio.ensure_future(stays.reader.read(-1))
            vanish(leaves)
            await until(lambda: recorder.raised)
            # Who takes what is sent goes on.
            assert recorder.done == 1
            assert len(server.own_runtime.connections) == 1
            assert not reading.done()
            reading.cancel()
            for peer in (stays, leaves):
                # It can't say goodbye in TLS.
                Peer.live.remove(peer)
                peer.writer.transport.abort()

    run(main())
    assert isinstance(recorder.raised[0], OSError)
    assert [line for line in log() if line.endswith("took nothing of what waits for it in time: the connection is cut")]
