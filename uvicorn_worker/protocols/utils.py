"""What middlewares make of a scope for the log, and the error of a client that has left, where uvicorn has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from uvicorn_worker.core.errors import ClientDisconnected

__all__ = ["ClientDisconnected", "get_client_addr", "get_path_with_query_string"]


def get_client_addr(scope: Mapping[str, Any]) -> str:
    """`host:port` of the client; empty where it is not known, as on a unix socket."""
    client = scope.get("client")
    return "{}:{}".format(*client) if client else ""


def get_path_with_query_string(scope: Mapping[str, Any]) -> str:
    """The target of the request, the path percent-encoded."""
    path, query = quote(scope["path"]), scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path
