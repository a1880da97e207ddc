"""The environ of a WSGI request (PEP 3333, "environ Variables"), made of an ASGI scope.

Strings in it are "bytes-as-unicode": each character is one byte, decoded as latin-1.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from uvicorn_worker.core.asgi import Scope, raw_path_of

__all__ = ["request_environ"]

# RFC 3875, 4.1.16: protocol "/" 1*digit "." 1*digit.
_PROTOCOLS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2.0", "3": "HTTP/3.0"}

_DEFAULT_PORTS = {"http": "80", "https": "443"}

# The variables of header fields by the fields' names. Clients choose the names: there must be an end to it.
_VARIABLES: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_VARIABLES_LIMIT = 1024


def request_environ(base: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """A copy of `base` with all that the HTTP scope says; wsgi.input is not in it."""
    environ = base.copy()
    environ["REQUEST_METHOD"] = scope["method"]
    query = scope["query_string"]
    environ["QUERY_STRING"] = query.decode("latin-1")
    version = scope["http_version"]
    environ["SERVER_PROTOCOL"] = _PROTOCOLS.get(version) or f"HTTP/{version}"
    environ["wsgi.url_scheme"] = scope.get("scheme", "http")

    root_path, raw_path = scope.get("root_path", ""), scope.get("raw_path")
    if raw_path is None:
        raw_path = raw_path_of(scope["path"])
    # Percent-decoded here, since `path` of the scope has lost the bytes that are not UTF-8.
    path = (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("latin-1")
    if root_path:
        path = _without_root(path, root_path.encode("utf-8", "surrogateescape").decode("latin-1"), environ)
        raw_path = raw_path.removeprefix(raw_path_of(root_path))
    else:
        environ["SCRIPT_NAME"] = ""
    environ["PATH_INFO"] = path
    uri = raw_path.decode("latin-1")
    environ["RAW_URI"] = f"{uri}?{environ['QUERY_STRING']}" if query else uri

    _add_headers(environ, scope["headers"])
    _add_addresses(environ, scope)
    return environ


def _without_root(path: str, root: str, environ: dict[str, Any]) -> str:
    """Divide the path into SCRIPT_NAME, which is set, and PATH_INFO, which is returned."""
    environ["SCRIPT_NAME"] = root.rstrip("/")
    if path.startswith(root):
        rest = path[len(root) :]
        if not rest or rest[0] == "/" or rest == "*":
            return rest
        if root[-1] == "/":
            return "/" + rest
    return path


def _add_headers(environ: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> None:
    repeated: dict[str, list[str]] | None = None
    for name, raw_value in headers:
        variable = _VARIABLES.get(name) or _variable_of(name)
        value = raw_value.decode("latin-1")
        if variable not in environ:
            environ[variable] = value
        elif variable.startswith("HTTP_"):
            # Joined once at the end: a client that repeats a field a thousand times must not cost a million.
            if repeated is None:
                repeated = {}
            repeated.setdefault(variable, [environ[variable]]).append(value)
    if repeated is not None:
        for variable, values in repeated.items():
            # RFC 9113, 8.2.3: cookies may come in pieces; RFC 9110, 5.3: all others are lists with commas.
            environ[variable] = ("; " if variable == "HTTP_COOKIE" else ",").join(values)


def _variable_of(name: bytes) -> str:
    variable = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_VARIABLES) < _VARIABLES_LIMIT:
        _VARIABLES[name] = variable
    return variable


def _add_addresses(environ: dict[str, Any], scope: Scope) -> None:
    client, server = scope.get("client"), scope.get("server")
    if client:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    else:
        # As Gunicorn has it for unix sockets, where the client has no address.
        environ["REMOTE_ADDR"] = ""
    if server and server[1] is not None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    else:
        _add_server_from_host(environ)


def _add_server_from_host(environ: dict[str, Any]) -> None:
    """Over a unix socket the Host field says as what the client knows the server."""
    host = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        # No port; or the colons of an IPv6 address in brackets.
        name, port = host, ""
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = port or _DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "")
