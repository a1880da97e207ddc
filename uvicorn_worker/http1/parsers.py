"""Which parser reads the requests, and what its errors mean to a client."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.grammar import is_token
from uvicorn_worker.http1.unreadable import LONGEST_WORD, explain_start

__all__ = [
    "SPENT",
    "Callbacks",
    "SkipFirstHead",
    "UnknownMethodLine",
    "UnmadeParser",
    "check_parser",
    "parser_behind_head",
    "parser_factory",
]

# What is for h11 alone. llhttp has a table of methods, and takes folded fields only together with control characters.
_H11_ALONE = ("permit_unconventional_http_method", "casefold_http_method", "permit_obsolete_folding")


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
