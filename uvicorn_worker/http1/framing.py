"""What the head of a request says about the message: version, host, length of the body, expectations.

The parsers check the syntax; what they leave to the server is decided here, the same for both of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import expectations, is_host, parse_length

__all__ = [
    "NO_HTTP2",
    "OWN_FIELDS",
    "Framing",
    "asks_to_persist",
    "effective_version",
    "read_framing",
    "takes_trailers",
]

# Fields that mean something to the server itself; all others only pass through.
OWN_FIELDS = frozenset([b"host", b"expect", b"transfer-encoding", b"content-length"])

# What the log says of a client that speaks HTTP/2 without having asked.
NO_HTTP2 = "HTTP/2 is not spoken here; UvicornH2CWorker does"


class Framing:
    """The length of the body in bytes (None: chunked), and whether the client waits for a 100."""

    __slots__ = ("expects_continue", "length")

    def __init__(self, length: int | None, expects_continue: bool) -> None:
        self.length = length
        self.expects_continue = expects_continue


def asks_to_persist(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client of HTTP/1.0 asks to keep the connection.

    For llhttp, `Proxy-Connection` asks, too. A proxy that passes that on without understanding it waits for the end of
    the connection (RFC 9112, C.2.2).
    """
    return any(name == b"connection" and b"keep-alive" in value.lower() for name, value in headers)


def effective_version(version: str) -> str:
    """The version as which a request of an unconventional one is read: 1.1, but for one without any."""
    return version if version == "0.9" else "1.1"


def read_framing(version: str, method: str | None, own: list[tuple[bytes, bytes]]) -> Framing:
    """The framing of a request from its `OWN_FIELDS`, names in lower case; raises `RequestRefused`."""
    _check_request_line(version, method)
    hosts = [value for name, value in own if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        # RFC 9112, 3.2: a server MUST answer 400 to both.
        raise RequestRefused(400, "more than one Host field" if hosts else "no Host field")
    if hosts and not is_host(hosts[0]):
        # The same clause.
        raise RequestRefused(400, "the Host field is not host and port")
    lengths = [value for name, value in own if name == b"content-length"]
    encodings = [value for name, value in own if name == b"transfer-encoding"]
    length = None
    if encodings:
        _check_chunked(version, encodings, lengths)
    else:
        length = _content_length(lengths)
    expected = {member for name, value in own if name == b"expect" for member in expectations(value)}
    if version != "1.1" or not expected:
        return Framing(length, False)
    if expected != {b"100-continue"}:
        raise RequestRefused(417, "an expectation other than 100-continue")
    return Framing(length, length != 0)


def _check_request_line(version: str, method: str | None) -> None:
    if version == "0.9":
        raise RequestRefused(400, "the request line has no HTTP version")
    if version.startswith("2."):
        raise RequestRefused(505, NO_HTTP2)
    if version not in ("1.0", "1.1"):
        raise RequestRefused(505, f"HTTP version {version} is not supported here")
    if method == "CONNECT":
        raise RequestRefused(501, "CONNECT is for proxies")


def _check_chunked(version: str, encodings: list[bytes], lengths: list[bytes]) -> None:
    """Check that the body is chunked and nothing else (RFC 9112, 6.1 and 6.3)."""
    if version == "1.0":
        raise RequestRefused(400, "Transfer-Encoding in an HTTP/1.0 request")
    if lengths:
        raise RequestRefused(400, "both Transfer-Encoding and Content-Length")
    codings = [coding.strip(b" \t").lower() for value in encodings for coding in value.split(b",")]
    if b"chunked" in codings[:-1]:
        raise RequestRefused(400, "chunked is not the one final transfer coding")
    if codings == [b""]:
        raise RequestRefused(400, "a Transfer-Encoding without a coding")
    if codings != [b"chunked"]:
        raise RequestRefused(501, "a transfer coding other than chunked")


def _content_length(lengths: list[bytes]) -> int:
    if not lengths:
        return 0
    length = parse_length(lengths[0])
    if len(lengths) > 1 or length is None:
        raise RequestRefused(400, "Content-Length is not one number")
    return length


def takes_trailers(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client says that it, and all on the way to it, will not drop trailers (RFC 9110, 10.1.4)."""
    values = [value for name, value in headers if name == b"te"]
    return any(member.strip(b" \t").lower() == b"trailers" for value in values for member in value.split(b","))
