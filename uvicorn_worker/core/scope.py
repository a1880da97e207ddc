"""Scopes of HTTP: what those of one connection have in common, and where a request goes to.

What proxies tell of a request is an `Origin`, which they make (proxies/forwarded.py) and `Scopes.locate` applies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from uvicorn_worker.core.address import Endpoints, ServerAddress, server_of
from uvicorn_worker.core.asgi import raw_path_of
from uvicorn_worker.core.config import Config

__all__ = ["Field", "Origin", "RequestLine", "Scopes", "TlsExtension", "is_plain_target", "without_newer"]

Field = tuple[bytes, bytes]
"""Name and value of a header field."""

RequestLine = tuple[str, bytes, str, bytes, bytes, str | None, bool]
"""Method, target, path, raw path, query, the name of the task (None: it is not made yet), and whether it is a HEAD."""

TlsExtension = Callable[[Any], dict[str, Any]]
"""What the `tls` extension says of a connection, by its ssl_object."""

# The extensions of ASGI HTTP that are announced, and those of them that HTTP/1.0 has not.
_EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.trailers": {},
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
}
_EARLY_HINT = "http.response.early_hint"
_PATHSEND = "http.response.pathsend"
_NEWER = frozenset(["http.response.trailers", _EARLY_HINT])

# Leaves a plain target as it is, and changes each byte that none has.
_PLAIN = bytes(byte if 0x20 < byte < 0x7F and byte not in b'"#' else byte ^ 1 for byte in range(256))

# How many targets are remembered, and how long they may be: clients make them up, but most ask for the same few.
MOST_TARGETS = 256
LONGEST_TARGET = 128

# A proxy may serve, and tell of, more addresses than a host has.
_MOST_SCOPES = 256


def without_newer(extensions: dict[str, Any]) -> dict[str, Any]:
    """The extensions that there are for a client of HTTP/1.0."""
    return {name: value for name, value in extensions.items() if name not in _NEWER}


def is_plain_target(target: bytes) -> bool:
    """Whether a target is of the plainest form, in which there is nothing to be refused."""
    return target.startswith(b"/") and target.translate(_PLAIN) == target


class Origin:
    """Where a request comes from, as its proxies tell it: entries of the scope, and how to rewrite others.

    `rewrite` (None: there is nothing to it) is called with a scope that is complete but for this, and with what its
    raw_path begins with by the option root_path.
    """

    __slots__ = ("changes", "rewrite")

    def __init__(self, changes: dict[str, Any], rewrite: Callable[[dict[str, Any], bytes], None] | None) -> None:
        self.changes = changes
        self.rewrite = rewrite


class Scopes:
    """Makes the scopes of one server's connections and requests."""

    __slots__ = (
        "_asgi",
        "_extensions",
        "_known",
        "_raw_root_path",
        "_root_path",
        "_tls_extension",
        "request_lines",
        "targets",
    )

    def __init__(self, config: Config, tls_extension: TlsExtension | None = None) -> None:
        self._root_path = config.root_path
        self._asgi = {"version": "3.0", "spec_version": config.asgi_spec_version}
        self._extensions = {
            name: value
            for name, value in _EXTENSIONS.items()
            if (config.early_hints or name != _EARLY_HINT) and (config.pathsend != "off" or name != _PATHSEND)
        }
        self._raw_root_path = raw_path_of(config.root_path)
        # None leaves the extension out.
        self._tls_extension = tls_extension
        # Plain targets that were split before: the path, and the parts of the target with the root path in front.
        self.targets: dict[bytes, tuple[str, bytes, bytes]] = {}
        # What plain request lines with such a target mean to the protocol that has lines, which puts them here.
        self.request_lines: dict[bytes, RequestLine] = {}
        # What all scopes of one listening address have in common, by (address, scheme).
        self._known: dict[tuple[ServerAddress | None, str], dict[str, Any]] = {}

    def offer_no_files(self) -> None:
        """The application is none for it (server/files_offered.py); said before there are connections."""
        self._extensions.pop(_PATHSEND, None)

    def of_connection(self, transport: asyncio.BaseTransport, endpoints: Endpoints | None = None) -> dict[str, Any]:
        """What the scopes of a connection have in common; without TLS, of all to one listening address.

        `endpoints` is what a proxy tells of the connection, which then counts.
        """
        if endpoints is not None:
            address = endpoints.server
        else:
            name = transport.get_extra_info("sockname")
            # As the sockets of IPv4 have it.
            address = name if type(name) is tuple and len(name) == 2 else server_of(name)
        secure = transport.get_extra_info("sslcontext") or (endpoints is not None and endpoints.secure)
        scheme = "https" if secure else "http"
        scope = self._known.get((address, scheme))
        if scope is None:
            if len(self._known) >= _MOST_SCOPES:
                self._known.clear()
            scope = self._known[address, scheme] = {
                "type": "http",
                "asgi": self._asgi,
                "http_version": "1.1",
                "server": address,
                "scheme": scheme,
                "root_path": self._root_path,
                # Set for each request; named here so that the copy of the dictionary has room for them.
                "method": "",
                "path": "",
                "raw_path": b"",
                "query_string": b"",
                "headers": [],
                "client": None,
                "state": {},
                # Each request has a copy of its own, as of the state.
                "extensions": self._extensions.copy(),
            }
        # A proxy may have ended the TLS that makes the scheme https.
        if self._tls_extension is not None and transport.get_extra_info("sslcontext"):
            extension = self._tls_extension(transport.get_extra_info("ssl_object"))
            return {**scope, "extensions": {**scope["extensions"], "tls": extension}}
        return scope

    def locate(self, scope: dict[str, Any], target: bytes, origin: Origin | None) -> None:
        """Put a target in origin-form into the scope of a request, and what its proxies tell; the last thing to do.

        The target is ASCII (`checked_target`).
        """
        scope["path"], scope["raw_path"], scope["query_string"] = self.targets.get(target) or self.split(target)
        # Its own: applications may change them.
        scope["extensions"] = scope["extensions"].copy()
        scope["asgi"] = self._asgi.copy()
        if origin is not None:
            scope.update(origin.changes)
            self.rewrite(scope, origin)

    def rewrite(self, scope: dict[str, Any], origin: Origin) -> None:
        """Change a scope that is complete as its proxies tell."""
        if origin.rewrite is not None:
            origin.rewrite(scope, self._raw_root_path)

    def refresh(self) -> None:
        """Once a tick, others get a place among the targets that are remembered; no more are remembered in vain."""
        if len(self.targets) >= MOST_TARGETS:
            self.targets.clear()
            self.request_lines.clear()

    def split(self, target: bytes) -> tuple[str, bytes, bytes]:
        """Path, raw path and query of a target, which are remembered where it is short and plain."""
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        if self._raw_root_path:
            path = self._root_path + path
            raw_path = self._raw_root_path + raw_path
        if len(target) <= LONGEST_TARGET and len(self.targets) < MOST_TARGETS and is_plain_target(target):
            self.targets[target] = path, raw_path, query
        return path, raw_path, query
