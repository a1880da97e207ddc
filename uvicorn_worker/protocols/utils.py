"""What middlewares make of a scope for the log, what a transport says of its ends, and the error of a client that left.

Where uvicorn has them; the server's own are in core/address.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from uvicorn_worker.core.errors import ClientDisconnected

__all__ = [
    "ClientDisconnected",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
]


def get_remote_addr(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Host and port of the peer; None where there are none, as on a unix socket, or none any more."""
    return _host_and_port(transport.get_extra_info("peername"))


def get_local_addr(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    """Host and port of the server's end, or the path of its unix socket and None."""
    name = transport.get_extra_info("sockname")
    return (name, None) if isinstance(name, str) else _host_and_port(name)


def is_ssl(transport: asyncio.BaseTransport) -> bool:
    """Whether TLS is spoken."""
    return bool(transport.get_extra_info("sslcontext"))


def _host_and_port(name: Any) -> tuple[str, int] | None:
    # Those of IPv6 have two parts more.
    return (str(name[0]), int(name[1])) if isinstance(name, (list, tuple)) and len(name) >= 2 else None


def get_client_addr(scope: Mapping[str, Any]) -> str:
    """`host:port` of the client; empty where it is not known, as on a unix socket."""
    client = scope.get("client")
    return "{}:{}".format(*client) if client else ""


def get_path_with_query_string(scope: Mapping[str, Any]) -> str:
    """The target of the request, the path percent-encoded."""
    path, query = quote(scope["path"]), scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path
