"""Which parser reads the requests, and what its errors mean to a client."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError, RequestRefused
from uvicorn_worker.core.grammar import TCHAR, is_token
from uvicorn_worker.core.target import METHODS
from uvicorn_worker.http1.framing import NO_HTTP2

__all__ = [
    "LONGEST_WORD",
    "SPENT",
    "UNSUPPORTED_VERSION",
    "Callbacks",
    "SkipFirstHead",
    "UnknownMethodLine",
    "UnmadeParser",
    "check_parser",
    "explain",
    "explain_start",
    "method_behind",
    "parser_behind_head",
    "parser_factory",
    "unconventional_method",
    "unknown_method",
]

# What is for h11 alone. llhttp has a table of methods, and takes folded fields only together with control characters.
_H11_ALONE = ("permit_unconventional_http_method", "casefold_http_method", "permit_obsolete_folding")

# What llhttp says behind the method of HTTP/2's preface.
_PREFACE_REASONS = ("Pause on PRI/Upgrade", "Expected HTTP/2 Connection Preface")
UNSUPPORTED_VERSION = "an HTTP version that is not supported here"

# How long a word is read that may be a method.
LONGEST_WORD = 64
# How a TLS record begins that is a handshake.
TLS_HANDSHAKE = b"\x16"

_match_method = re.compile(rf"([{TCHAR}]{{1,{LONGEST_WORD - 1}}}) ".encode()).match
_find_length = re.compile(rb"\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE).search


class Callbacks(Protocol):
    """What a parser calls as it reads."""

    def on_message_begin(self) -> None:
        """The first byte of a message has come."""

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailers once the head is complete."""

    def on_headers_complete(self) -> None:
        """The head has ended."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""

    def on_message_complete(self) -> None:
        """The message has ended."""


def check_parser(config: Config) -> str:
    """Which parser reads the requests: httptools or h11; `ConfigError` where it can't do what an option asks for."""
    kind = config.http
    if kind == "auto":
        kind = "httptools" if importlib.util.find_spec("httptools") else "h11"
    for option in _H11_ALONE:
        if kind == "httptools" and getattr(config, option):
            raise ConfigError(
                f"option {option} = True: the parser httptools can't do that, but h11 can: set the option http to "
                "'h11', or take UvicornH11Worker"
            )
    return kind


def parser_factory(config: Config) -> Callable[[Callbacks], Any]:
    """A function that makes a parser for some callbacks, of the kind that `Config.http` names."""
    if check_parser(config) == "httptools":
        try:
            from httptools import HttpRequestParser
        except ImportError:
            raise ConfigError("option http = 'httptools': the package httptools is not installed") from None
        if not config.permit_unconventional_http_version:
            # Without a call of set_dangerous_leniencies llhttp is strict.
            return HttpRequestParser

        def make_lenient(callbacks: Callbacks) -> Any:
            parser = HttpRequestParser(callbacks)
            parser.set_dangerous_leniencies(lenient_version=True)
            return parser

        return make_lenient

    from uvicorn_worker.http1.h11_parser import H11Parser

    return lambda callbacks: H11Parser(callbacks, config)


class SpentParser:
    """In the place of the parser while a body is cut by hand, and behind the last request of a connection."""

    def feed_data(self, data: bytes | memoryview) -> None:
        """Raises ValueError; the reader knows what is behind a last request."""
        raise ValueError("the last request of the connection is over")


SPENT = SpentParser()


class UnmadeParser:
    """Stands for the parser of a connection that is idle: one is made as soon as there is something to parse.

    With its six callbacks a parser takes about as much memory as all else that we have of a connection.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def feed_data(self, data: Any) -> None:
        """What comes first is for the parser that is made."""
        reader = self._reader
        reader.parser = parser = reader.shared.make_parser(reader)
        parser.feed_data(data)


class SkipFirstHead:
    """Callbacks that leave out one head, made only to tell a parser how the body after it is delimited."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._skipping = True
        self.on_message_begin = callbacks.on_message_begin
        self.on_body = callbacks.on_body
        self.on_message_complete = callbacks.on_message_complete

    def on_url(self, url: bytes) -> None:
        """Passed on after the first head."""
        if not self._skipping:
            self._callbacks.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Passed on after the first head."""
        if not self._skipping:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Passed on after the first head."""
        if not self._skipping:
            self._callbacks.on_headers_complete()
        self._skipping = False


def parser_behind_head(make_parser: Callable[[Callbacks], Any], callbacks: Callbacks, length: int) -> Any:
    """A parser that is at the beginning of a body of `length` bytes; it is told so by a head made for the purpose."""
    parser = make_parser(SkipFirstHead(callbacks))
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    return parser


class UnknownMethodLine:
    """In the place of a parser that has stopped within a word that may be a method: reads on, to tell what it is."""

    def __init__(self, start: bytes) -> None:
        self._start = start

    def get_method(self) -> bytes:
        """None is known."""
        return b""

    def feed_data(self, data: bytes | memoryview) -> None:
        """Raises `RequestRefused` when the word has ended."""
        self._start += bytes(data[:LONGEST_WORD])
        if not self.is_open(self._start):
            raise explain_start(self._start)

    @staticmethod
    def is_open(start: bytes) -> bool:
        """Whether what has come may still become a method."""
        return len(start) < LONGEST_WORD and is_token(start) is not None


def unconventional_method(config: Config, method: bytes) -> str | None:
    """The name of a method that is not registered, where it may be used; None where it may not."""
    if config.casefold_http_method:
        method = method.upper()
    if method in METHODS:
        return METHODS[method]
    return method.decode("ascii") if config.permit_unconventional_http_method else None


def unknown_method(method: bytes) -> RequestRefused:
    """RFC 9110, 9.1: 501 for a method that the server does not know, where it may be one."""
    if method == b"PRI":
        # The preface of HTTP/2 (RFC 9113, 3.4).
        return RequestRefused(505, NO_HTTP2)
    if len(method) >= LONGEST_WORD:
        return RequestRefused(400, "not an HTTP request")
    return RequestRefused(501, f"the method {method.decode('ascii', 'replace')} is not known here")


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
    if found := _match_method(start):
        return unknown_method(found[1])
    return RequestRefused(400, "not an HTTP request")


def method_behind(data: bytes) -> bytes:
    """The start of the first message in `data` whose method is none that is known, or is not whole; else nothing.

    A callback parser does not say where it stopped. `data` begins with a message; those before are whole and good, and
    no body among them is chunked.
    """
    at = 0
    while at < len(data):
        if data[at] in b"\r\n":
            at += 1
            continue
        found = _match_method(data, at)
        if found is None or found[1] not in METHODS:
            return data[at : at + LONGEST_WORD]
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            break
        length = _find_length(data, at, end)
        at = end + 4 + (int(length[1]) if length else 0)
    return b""
