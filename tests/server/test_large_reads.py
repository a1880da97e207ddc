"""Large reads of a WebSocket on real sockets, with TLS and without."""

from __future__ import annotations

import asyncio
import gc
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import serving
from tests.sockets import Peer, Run, listen
from tests.websocket.scripted_socket import echo
from tests.websocket.wire import Frame, binary, handshake, parse_frames, ping, text
from uvicorn_worker.core.large_reads import PATIENCE

# One frame of these is a large read.
PAYLOAD = bytes(range(256)) * 256
LARGE = binary(PAYLOAD)
SMALL = text("small")


# Python 3.10 does not mark the transport as closed where the client said close_notify first.
@pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_on_real_sockets(run: Run, request: pytest.FixtureRequest, *, tls: bool) -> None:
    options: dict[str, Any] = {"lifespan": "off"}
    client_side = None
    if tls:
        certificate: Path = request.getfixturevalue("certificate")
        options["ssl_certfile"] = str(certificate)
        client_side = ssl.create_default_context(cafile=certificate)
    sent = [LARGE, binary(PAYLOAD * 20), SMALL, LARGE, *[SMALL] * (PATIENCE + 1), LARGE, ping(b"!")]

    async def main() -> None:
        sock = listen()
        async with serving(echo, sock, **options):
            peer = await Peer.connect(sock, client_side)
            peer.send(handshake())
            await peer.reader.readuntil(b"\r\n\r\n")
            received: list[Frame] = []
            for data in sent:
                peer.send(data)
                received += await read_frame(peer.reader)
            assert [len(item.payload) for item in received] == [
                *(65536, 65536 * 20, 5, 65536),
                *[5] * (PATIENCE + 1),
                *(65536, 1),
            ]
            assert {item.payload for item in received} == {PAYLOAD, PAYLOAD * 20, b"small", b"!"}

    run(main())
    gc.collect()


async def read_frame(reader: asyncio.StreamReader) -> list[Frame]:
    """The next frame of the server."""
    data = await reader.readexactly(2)
    more = {126: 2, 127: 8}.get(data[1], 0)
    data += await reader.readexactly(more)
    length = int.from_bytes(data[2:], "big") if more else data[1]
    return parse_frames(data + await reader.readexactly(length))
