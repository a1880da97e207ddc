"""`uvicorn.protocols.utils`, which middlewares import that write an access line of their own."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols import utils as theirs

from uvicorn_worker.core.errors import ClientDisconnected
from uvicorn_worker.protocols import utils

SCOPES: list[dict[str, Any]] = [
    {"client": ("192.0.2.1", 5), "path": "/a b/\u00e9", "query_string": b"x=%20"},
    {"client": None, "path": "/", "query_string": b""},
]


def test_they_say_what_uvicorns_say() -> None:
    for scope in SCOPES:
        for name in ("get_client_addr", "get_path_with_query_string"):
            assert getattr(utils, name)(scope) == getattr(theirs, name)(scope)
    assert utils.get_path_with_query_string(SCOPES[0]) == "/a%20b/%C3%A9?x=%20"


def test_the_error_is_the_one_that_send_raises() -> None:
    assert utils.ClientDisconnected is ClientDisconnected
    assert issubclass(ClientDisconnected, OSError)


class Transport(asyncio.BaseTransport):
    """Knows what it is told, as those of the loops do."""

    def __init__(self, sock: socket.socket | None = None, **extra: Any) -> None:
        names = {} if sock is None else {"peername": name_of(sock.getpeername), "sockname": sock.getsockname()}
        super().__init__({"socket": sock, **names, **extra})


def name_of(ask: Any) -> Any:
    try:
        return ask()
    except OSError:
        return None


def of_pair(family: socket.AddressFamily, address: Any) -> tuple[socket.socket, socket.socket]:
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        client = socket.socket(family)
        client.connect(listener.getsockname())
        return listener.accept()[0], client


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_of_a_transport_they_say_what_uvicorns_say(family: socket.AddressFamily, tmp_path: Path) -> None:
    hosts = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: str(tmp_path / "socket")}
    try:
        accepted, client = of_pair(family, hosts[family])
    except OSError as exc:
        pytest.skip(f"there is none: {exc}")
    with accepted, client:
        for sock in (accepted, client):
            transport: Any = Transport(sock)
            for name in ("get_remote_addr", "get_local_addr", "is_ssl"):
                assert getattr(utils, name)(transport) == getattr(theirs, name)(transport)


def test_and_of_one_without_a_socket() -> None:
    for extra in ({}, {"peername": ["h", 5], "sockname": "/path", "sslcontext": object()}, {"sockname": ("h", 5)}):
        transport: Any = Transport(**extra)
        for name in ("get_remote_addr", "get_local_addr", "is_ssl"):
            assert getattr(utils, name)(transport) == getattr(theirs, name)(transport)
