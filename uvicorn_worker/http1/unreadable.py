"""What to answer for a request that no parser takes: methods and versions that are none, and what parsers say."""

from __future__ import annotations

import functools
import re

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import TCHAR
from uvicorn_worker.core.target import METHODS, NO_METHOD, method_name
from uvicorn_worker.http1.framing import NO_HTTP2

__all__ = [
    "LONGEST_WORD",
    "RTSP",
    "UNSUPPORTED_VERSION",
    "explain",
    "explain_start",
    "foreign_protocol",
    "message_behind",
    "unknown_method",
]

# What llhttp says behind the method of HTTP/2's preface.
_PREFACE_REASONS = ("Pause on PRI/Upgrade", "Expected HTTP/2 Connection Preface")
# What llhttp takes for HTTP/ behind the methods that both have, and says nothing of.
RTSP = b" RTSP/"
UNSUPPORTED_VERSION = "an HTTP version that is not supported here"

# How long a word is read that may be a method.
LONGEST_WORD = 64
# How a TLS record begins that is a handshake.
TLS_HANDSHAKE = b"\x16"

_METHOD = rf"([{TCHAR}]{{1,{LONGEST_WORD - 1}}}) ".encode()
_LENGTH = rb"\ncontent-length:[ \t]*([0-9]+)"


@functools.cache
def _patterns() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """A method, and the line of a length: compiled with the first request that is none."""
    return re.compile(_METHOD), re.compile(_LENGTH, re.IGNORECASE)


def unknown_method(method: bytes) -> RequestRefused:
    """RFC 9110, 9.1: 501 for a method that the server does not know, where it may be one."""
    if method == b"PRI":
        # The preface of HTTP/2 (RFC 9113, 3.4).
        return RequestRefused(505, NO_HTTP2)
    if len(method) >= LONGEST_WORD:
        return RequestRefused(400, "not an HTTP request")
    return RequestRefused(501, NO_METHOD % method.decode("ascii", "replace"))


def foreign_protocol(config: Config, method: bytes) -> RequestRefused:
    """RFC 9112, 2.3: the protocol of the request line is not named HTTP, in capitals."""
    return unknown_method(method) if method_name(config, method) is None else RequestRefused(400, "not an HTTP request")


def explain(error: Exception, start: bytes) -> RequestRefused:
    """What to answer for an error of a parser; `start` is how the message began, where that is known."""
    if type(error).__name__ == "HttpParserInvalidMethodError" or start[:1] == TLS_HANDSHAKE:
        return explain_start(start)
    reason = str(error) or type(error).__name__
    if reason in _PREFACE_REASONS or start.startswith(b"PRI "):
        return unknown_method(b"PRI")
    if reason == "Invalid HTTP version":
        return RequestRefused(505, UNSUPPORTED_VERSION)
    # h11 says 501 for a transfer coding that it does not know.
    status = getattr(error, "error_status_hint", 400)
    return RequestRefused(status if status in (400, 414, 417, 431, 501) else 400, reason)


def explain_start(start: bytes) -> RequestRefused:
    """What to answer for a message that does not begin with a method that is known."""
    if start[:1] == TLS_HANDSHAKE:
        return RequestRefused(400, "TLS, to a port that has no certificate")
    if found := _patterns()[0].match(start):
        return unknown_method(found[1])
    return RequestRefused(400, "not an HTTP request")


def message_behind(data: bytes) -> bytes:
    """The first message in `data` whose method is none that is known, or whose head is not whole; else nothing.

    A callback parser does not say where it stopped. `data` begins with a message; those before are whole and good, and
    no body among them is chunked.
    """
    method, length_line = _patterns()
    at = 0
    while at < len(data):
        if data[at] in b"\r\n":
            at += 1
            continue
        found = method.match(data, at)
        end = data.find(b"\r\n\r\n", at)
        if found is None or found[1] not in METHODS or end < 0:
            return data[at:]
        length = length_line.search(data, at, end)
        at = end + 4 + (int(length[1]) if length else 0)
    return b""
