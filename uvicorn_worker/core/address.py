"""The two ends of a connection, as ASGI has them, and the client's name for the log."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = [
    "Address",
    "Endpoints",
    "ServerAddress",
    "client_address",
    "client_of",
    "of_this_machine",
    "peer_name",
    "server_of",
]

Address = tuple[str, int]
"""Host and port."""

ServerAddress = tuple[str, int | None]
"""Host and port; path and None for a unix socket."""


class Endpoints:
    """The two ends of a connection, and whether the client has come over TLS, as a proxy tells them."""

    __slots__ = ("client", "secure", "server")

    def __init__(self, client: Address | None, server: ServerAddress | None, secure: bool = False) -> None:
        self.client = client
        self.server = server
        self.secure = secure

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Endpoints):
            return NotImplemented
        return (self.client, self.server, self.secure) == (other.client, other.server, other.secure)

    def __hash__(self) -> int:
        return hash((self.client, self.server, self.secure))


def client_address(transport: asyncio.BaseTransport) -> Address | None:
    """The client's (host, port); None over a unix socket, where it has no address."""
    return client_of(transport.get_extra_info("peername"))


def client_of(name: Any) -> Address | None:
    """The client's (host, port) by what the socket calls its peer; None for that of a unix socket."""
    if isinstance(name, (tuple, list)) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return None


def of_this_machine(client: Address | None) -> bool:
    """Whether this is the address of a client of this machine: of loopback, or None, over a unix socket."""
    return client is None or client[0] == "::1" or client[0].startswith(("127.", "::ffff:127."))


def server_of(name: Any) -> ServerAddress | None:
    """The server's (host, port) by what the socket calls itself; (path, None) for a unix socket."""
    if isinstance(name, (tuple, list)) and len(name) >= 2:
        return str(name[0]), int(name[1])
    if isinstance(name, bytes):
        # An abstract socket of Linux: its name is bytes.
        return name.decode("utf-8", "surrogateescape"), None
    return (name, None) if name else None


def peer_name(client: Address | None, unnamed: str = "a unix socket") -> str:
    """`host:port` of a client for the log; `unnamed` for one of a unix socket."""
    return "{}:{}".format(*client) if client else unnamed
