"""What applications reach for behind `receive` and `send`: the transport, and whether the client has gone."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Site, client_context
from tests.server.running import Running, until
from uvicorn_worker.core.asgi import Receive, Scope, Send

UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def port_of(running: Running) -> int:
    found: int = running.sock.getsockname()[1]
    return found


async def tells(scope: Scope, receive: Receive, send: Send) -> None:
    """The client's port as the transport has it, and how far the response is."""
    sending: Any = getattr(send, "__self__")  # noqa: B009 - as applications have it
    receiving: Any = getattr(receive, "__self__")  # noqa: B009
    transport = sending.transport
    assert transport is receiving.transport
    assert (transport.get_extra_info("ssl_object") is None) == (scope["scheme"] in ("http", "ws"))
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = str(transport.get_extra_info("peername")[1]).encode()
    assert (sending.response_started, sending.response_complete, receiving.disconnected) == (False, False, False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-port", port)]})
    assert (sending.response_started, sending.response_complete) == (True, False)
    await send({"type": "http.response.body", "body": b"told"})
    assert sending.response_complete
    assert not receiving.disconnected


async def answer(url: str, **options: Any) -> bytes:
    async with httpx.AsyncClient(verify=client_context(), **options) as client:
        found = await client.get(url)
        return found.content if found.status_code == 200 and int(found.headers["x-port"]) else b""


@pytest.mark.parametrize(
    ("options", "client"),
    [
        ({"http": "httptools"}, {}),
        ({"http": "h11"}, {}),
        ({"http2": "on", "http2_cleartext": "both"}, {"http1": False, "http2": True}),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_the_transport_of_a_request(tmp_path: Path, options: Any, client: Any, *, secure: bool) -> None:
    pytest.importorskip(options.get("http", "h11"))

    async def main() -> None:
        async with Running(tells, **options, **(Site(tmp_path).options if secure else {})) as running:
            url = f"http{'s' if secure else ''}://127.0.0.1:{port_of(running)}/"
            assert await answer(url, **client) == b"told"

    asyncio.run(main())


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_client_that_has_gone(http: str) -> None:
    told: list[bool] = []

    async def asks(scope: Scope, receive: Receive, send: Send) -> None:
        receiving: Any = getattr(receive, "__self__")  # noqa: B009
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not receiving.disconnected:
            await send({"type": "http.response.body", "body": b"frame", "more_body": True})
            await asyncio.sleep(0.01)
        told.append(receiving.disconnected)

    async def main() -> None:
        async with Running(asks, http=http) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await reader.readuntil(b"frame")
            writer.close()
            await until(lambda: bool(told))

    asyncio.run(main())


@pytest.mark.parametrize("accepted", [False, True])
def test_the_transport_of_a_websocket(*, accepted: bool) -> None:
    told: list[Any] = []

    async def aborts(scope: Scope, receive: Receive, send: Send) -> None:
        sending: Any = getattr(send, "__self__")  # noqa: B009
        await receive()
        if accepted:
            await send({"type": "websocket.accept"})
            await asyncio.sleep(0)
        transport = sending.transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.abort()
        told.append((await receive())["type"])

    async def main() -> None:
        async with Running(aborts) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
            writer.write(UPGRADE)
            assert (b"101" in await reader.read()) == accepted
            writer.close()
            await until(lambda: told == ["websocket.disconnect"])

    asyncio.run(main())
