"""The websockets library's client for a server of the tests."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.harness import PATIENCE, Gunicorn

if TYPE_CHECKING:
    from websockets.datastructures import Headers

__all__ = ["HANDSHAKE", "PYTHONPATH", "end", "headers", "open_socket", "reset"]

#: Options of Gunicorn that let it find the apps of this folder.
PYTHONPATH = ("--pythonpath", str(Path(__file__).parent / "apps"))

#: The header lines of a handshake, for `Connection.request`.
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def open_socket(server: Gunicorn, target: str = "/echo", **options: Any) -> ClientConnection:
    """A WebSocket; `options` are those of the client. It is a context manager that closes it."""
    # The socket is made here, so that proxies of the environment have no say.
    sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    sock.settimeout(None)
    uri = f"ws://127.0.0.1:{server.port}{target}"
    client: ClientConnection = connect(
        uri, sock=sock, open_timeout=PATIENCE, close_timeout=PATIENCE, max_size=None, **options
    )
    return client


def headers(client: ClientConnection) -> Headers:
    """The fields of the 101."""
    assert client.response is not None
    return client.response.headers


def reset(client: ClientConnection) -> None:
    """Leave without a word: the server sees a reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.shutdown(socket.SHUT_RD)
    client.socket.close()


def end(client: ClientConnection) -> tuple[int, str] | None:
    """Code and reason with which the server ends the WebSocket; None where it just ends the connection."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as exc:
        return (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd is not None else None
