"""Which parser reads the requests, and what its errors mean to a client."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.grammar import is_token
from uvicorn_worker.core.target import METHODS, method_name
from uvicorn_worker.http1.unreadable import LONGEST_WORD, explain_start, unknown_method

__all__ = [
    "SPENT",
    "Callbacks",
    "OtherMethod",
    "OtherMethodError",
    "SkipFirstHead",
    "StandIn",
    "UnmadeParser",
    "check_method",
    "check_parser",
    "is_other_method",
    "lenient_httptools",
    "options_for_h11",
    "other_name",
    "parser_behind_head",
    "parser_factory",
]

# What is for h11 alone: llhttp takes such fields only together with others that nobody asked for.
_H11_ALONE = ("permit_obsolete_folding", "strip_header_spaces")


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
    """Which parser reads the requests: httptools or h11."""
    kind = str(config.http)
    if kind == "auto":
        kind = "httptools" if importlib.util.find_spec("httptools") else "h11"
    if kind == "httptools" and (options_for_h11(config) or lenient_httptools()):
        return "h11"
    return kind


def lenient_httptools() -> bool:
    """Whether httptools is one before 0.6.3: they take bare LF, folded fields and spaces before colons."""
    try:
        from httptools import HttpRequestParser
    except ImportError:
        return False
    return not hasattr(HttpRequestParser, "set_dangerous_leniencies")


def options_for_h11(config: Config) -> list[str]:
    """The options that are on and that httptools can't do: with one of them h11 takes its place."""
    return [option for option in _H11_ALONE if getattr(config, option)]


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


def is_other_method(parser: Any, start: bytes) -> bool:
    """Whether a head that begins so has a method that the parser knows for another protocol, and stops behind it."""
    if hasattr(parser, "knows_methods"):
        return False
    word, blank, _ = start.lstrip(b"\r\n").partition(b" ")
    return bool(blank) and word not in METHODS


class OtherMethodError(Exception):
    """A parser has taken a method for that of another protocol, which it may be or not: the message is read anew."""


def check_method(parser: Any) -> None:
    """Behind a whole head with a method that is not in the table; raises `OtherMethodError`."""
    if not hasattr(parser, "knows_methods"):
        raise OtherMethodError


def other_name(config: Config, method: bytes) -> str:
    """The name of such a method; raises `RequestRefused`."""
    name = method_name(config, method)
    if name is None:
        raise unknown_method(method)
    return name


class OtherMethod:
    """In the place of a parser that has a table of methods, for a message that begins with a word that is not in it.

    Reads on until the word has ended. Where it is a method all the same, the parser is given one of its own for it.
    """

    # Of a method that is none of the parser's nothing more is to be found out.
    knows_methods = True

    __slots__ = ("_reader", "_start")

    def __init__(self, reader: Any, start: bytes) -> None:
        self._reader = reader
        # What came of the message before.
        self._start = start

    @property
    def failed_head(self) -> bytes:
        """How a message began that is refused."""
        return self._start

    def get_method(self) -> bytes:
        """None is known."""
        return b""

    def feed_data(self, data: bytes | memoryview) -> None:
        """Raises `RequestRefused` for a word that is no method, and what the parser raises for what is behind it."""
        reader, before = self._reader, len(self._start)
        reader.on_message_begin()
        self._start += bytes(data[:LONGEST_WORD])
        word, blank, _ = self._start.partition(b" ")
        if not blank and self.is_open(word):
            return
        if not blank or method_name(reader.runtime.config, word) is None:
            raise explain_start(self._start)
        stand_in = StandIn(reader, word)
        reader.parser = stand_in
        stand_in.begin(data, len(word) - before)

    @staticmethod
    def is_open(start: bytes) -> bool:
        """Whether what has come may still become a method."""
        return len(start) < LONGEST_WORD and is_token(start) is not None


class StandIn:
    """A parser that reads a message as a POST and says that it is another one; as itself from the next message on.

    A POST has a body or none as any other method has, but for CONNECT, which parsers know.
    """

    # As above.
    knows_methods = True

    __slots__ = ("_method", "_parser", "_reader")

    def __init__(self, reader: Any, method: bytes) -> None:
        self._reader = reader
        self._method = method
        self._parser = reader.shared.make_parser(reader)

    def begin(self, data: bytes | memoryview, at: int) -> None:
        """The method of the message ends at `data[at]`."""
        self._parser.feed_data(b"POST")
        try:
            self._parser.feed_data(data[at:])
        except Exception as exc:
            if type(exc).__name__ == "HttpParserUpgrade":
                # It says where in the data the head ends.
                exc.args = (exc.args[0] + at,)
            raise

    def feed_data(self, data: bytes | memoryview) -> None:
        """As the parser."""
        self._parser.feed_data(data)

    def get_method(self) -> bytes:
        """The method of the message."""
        return self._method

    def get_http_version(self) -> str:
        """As the parser; this and what follows is asked once, when the head has ended."""
        version: str = self._parser.get_http_version()
        return version

    def should_keep_alive(self) -> bool:
        """As the parser, which is from now on to be asked itself."""
        self._reader.parser = self._parser
        is_kept: bool = self._parser.should_keep_alive()
        return is_kept
