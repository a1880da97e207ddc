"""Both parsers behind the same callbacks: fed whole, byte by byte, and with bytes trailing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.scripted import get, post
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError, RequestRefused
from uvicorn_worker.http1.h11_parser import H11Parser
from uvicorn_worker.http1.parsers import SkipFirstHead, check_parser, parser_factory
from uvicorn_worker.http1.unreadable import explain, message_behind, unknown_method


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class Seen:
    """Callbacks that write down what they are told, pieces of one thing joined."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.events: list[Any] = []
        self.begun = False

    def on_message_begin(self) -> None:
        self.begun = True

    def _add(self, kind: str, data: bytes) -> None:
        if self.events and self.events[-1][0] == kind:
            self.events[-1] = (kind, self.events[-1][1] + data)
        else:
            self.events.append((kind, data))

    def on_url(self, url: bytes) -> None:
        assert self.begun, "a message that has not begun"
        self._add("url", url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.events.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.events.append(("head", parser.get_method(), parser.get_http_version(), parser.should_keep_alive()))

    def on_body(self, body: bytes) -> None:
        self._add("body", body)

    def on_message_complete(self) -> None:
        self.events.append("end")
        self.begun = False


def parse(kind: str, data: bytes, each: int | None = None) -> list[Any]:
    seen = Seen()
    parser = seen.parser = parser_factory(Config(app=app, http=kind))(seen)
    for at in range(0, len(data), each or len(data)):
        parser.feed_data(data[at : at + (each or len(data))])
    return seen.events


CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HOST = (b"host", b"example.org")
MESSAGES: dict[str, tuple[bytes, list[Any]]] = {
    "get": (get("/a?b"), [("url", b"/a?b"), HOST, ("head", b"GET", "1.1", True), "end"]),
    "close": (
        get("/", "Connection: x, Close"),
        [("url", b"/"), HOST, (b"connection", b"x, Close"), ("head", b"GET", "1.1", False), "end"],
    ),
    "http10": (get(version="1.0"), [("url", b"/"), HOST, ("head", b"GET", "1.0", False), "end"]),
    "http10 keep-alive": (
        get("/", "Connection: Keep-Alive", version="1.0"),
        [("url", b"/"), HOST, (b"connection", b"Keep-Alive"), ("head", b"GET", "1.0", True), "end"],
    ),
    "post": (
        post(b"12345"),
        [("url", b"/"), HOST, (b"content-length", b"5"), ("head", b"POST", "1.1", True), ("body", b"12345"), "end"],
    ),
    "chunked": (
        CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
        [
            ("url", b"/c"),
            (b"host", b"a"),
            (b"transfer-encoding", b"chunked"),
            ("head", b"POST", "1.1", True),
            ("body", b"abcde"),
            "end",
        ],
    ),
    "empty lines": (b"\r\n\r\n" + get(), [("url", b"/"), HOST, ("head", b"GET", "1.1", True), "end"]),
}


@pytest.mark.parametrize("each", [None, 1, 2, 7])
@pytest.mark.parametrize("name", MESSAGES)
def test_messages(parser: str, name: str, each: int | None) -> None:
    data, events = MESSAGES[name]
    assert parse(parser, data, each) == events


@pytest.mark.parametrize("each", [None, 1, 2, 7])
@pytest.mark.parametrize("name", [name for name in MESSAGES if name not in ("close", "http10")])
def test_messages_with_bytes_trailing(parser: str, name: str, each: int | None) -> None:
    data, events = MESSAGES[name]
    trailing, trailing_events = MESSAGES["post"]
    assert parse(parser, data + trailing + b"GET", each) == events + trailing_events


@pytest.mark.parametrize("each", [None, 1])
@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", get()[:-2] + b"X : y\r\n\r\n", CHUNKED + b"xyz\r\n"])
def test_what_is_none_raises(parser: str, data: bytes, each: int | None) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        parse(parser, data, each)
    assert explain(caught.value, b"").status in (400, 501)


@pytest.mark.parametrize("http", ["auto", "httptools"])
def test_h11_takes_the_place_of_an_httptools_that_is_not_strict(monkeypatch: pytest.MonkeyPatch, http: str) -> None:
    """One before 0.6.3."""
    httptools = pytest.importorskip("httptools")
    assert check_parser(Config(app=app, http=http)) == "httptools"
    monkeypatch.setattr(httptools, "HttpRequestParser", object)
    assert check_parser(Config(app=app, http=http)) == "h11"
    assert isinstance(parser_factory(Config(app=app, http=http))(Seen()), H11Parser)


class TestFactory:
    def test_auto_takes_httptools(self) -> None:
        pytest.importorskip("httptools")
        assert type(parser_factory(Config(app=app))(Seen())).__name__ == "HttpRequestParser"

    def test_auto_does_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert isinstance(parser_factory(Config(app=app))(Seen()), H11Parser)

    def test_httptools_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "httptools", None)
        with pytest.raises(ConfigError, match="httptools is not installed"):
            parser_factory(Config(app=app, http="httptools"))


@pytest.mark.parametrize("each", [None, 1])
def test_skip_first_head(parser: str, each: int | None) -> None:
    seen = Seen()
    made = seen.parser = parser_factory(Config(app=app, http=parser))(SkipFirstHead(seen))
    data = post(b"12345") + get("/2")
    for at in range(0, len(data), each or len(data)):
        made.feed_data(data[at : at + (each or len(data))])
    assert seen.events == [("body", b"12345"), "end", ("url", b"/2"), HOST, ("head", b"GET", "1.1", True), "end"]


class Hinted(Exception):
    """An error of h11 with a status."""

    def __init__(self, status: int) -> None:
        super().__init__("reason")
        self.error_status_hint = status


class HttpParserInvalidMethodError(Exception):
    """As httptools names it."""


class TestExplain:
    @pytest.mark.parametrize(
        ("error", "start", "status"),
        [
            (Exception("anything"), b"", 400),
            (Exception(), b"", 400),
            (Exception("Invalid HTTP version"), b"", 505),
            (Hinted(431), b"", 431),
            (Hinted(501), b"", 501),
            (Hinted(500), b"", 400),
            (HttpParserInvalidMethodError("Invalid method"), b"FOO / HTTP/1.1", 501),
            (HttpParserInvalidMethodError("Invalid method"), b"\x16\x03\x01", 400),
            (HttpParserInvalidMethodError("Invalid method"), b"", 400),
            (HttpParserInvalidMethodError("Invalid method"), b"F" * 64 + b" /", 400),
            (Exception("Pause on PRI/Upgrade"), b"", 505),
            (Exception("Expected HTTP/2 Connection Preface"), b"", 505),
            (Exception("anything"), b"PRI *", 505),
        ],
    )
    def test_the_status(self, error: Exception, start: bytes, status: int) -> None:
        refusal = explain(error, start)
        assert isinstance(refusal, RequestRefused)
        assert refusal.status == status
        assert refusal.reason
        assert "\n" not in refusal.reason


@pytest.mark.parametrize(("method", "status"), [(b"FOO", 501), (b"F" * 63, 501), (b"F" * 64, 400), (b"PRI", 505)])
def test_unknown_method(method: bytes, status: int) -> None:
    assert unknown_method(method).status == status


class TestMessageBehind:
    @pytest.mark.parametrize(
        "before",
        [
            b"",
            b"\r\n\r\n",
            get(),
            get() + b"\r\n" + get("/2"),
            post(b"\r\n\r\nFOO / "),
            get("/", "X: y", "content-LENGTH:  3") + b"BAR",
        ],
    )
    @pytest.mark.parametrize("start", [b"FOO / HTTP/1.1\r\n\r\n" + get(), b"FO", b"P", b"\x16", b"F" * 64, b"GET /x"])
    def test_it_is_found(self, before: bytes, start: bytes) -> None:
        assert message_behind(before + start) == start

    @pytest.mark.parametrize("data", [b"", b"\r\n", get(), post(b"12345")[:-1]])
    def test_there_is_none(self, data: bytes) -> None:
        assert message_behind(data) == b""


class TestH11:
    def parser(self, **options: Any) -> tuple[H11Parser, Seen]:
        seen = Seen()
        parser = seen.parser = H11Parser(seen, Config(app=app, **options))
        return parser, seen

    def test_what_is_not_whole_yet(self) -> None:
        parser, seen = self.parser()
        parser.feed_data(get()[:10])
        assert parser.failed_head == get()[:10]
        parser.feed_data(get()[10:])
        assert parser.failed_head == b""
        assert seen.events == [("url", b"/"), HOST, ("head", b"GET", "1.1", True), "end"]

    @pytest.mark.parametrize(
        "head",
        [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("before", [b"", get()])
    def test_what_h11_would_take_and_llhttp_would_not(self, before: bytes, head: bytes) -> None:
        parser, seen = self.parser()
        with pytest.raises(RequestRefused) as caught:
            parser.feed_data(before + head)
        assert caught.value.status == 400
        assert seen.events.count("end") == (1 if before else 0)

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            # llhttp stops at the first fault.
            (b"foo / HTTP/1.1\r\nX : y\r\n\r\n", 501),
            (b"foo there\r\n\r\n", 501),
            (b"GET / HTTP/1.2\r\nX: a\x01\r\n\r\n", 505),
            (b"GET / HTTP/2.0\r\nX: a\x01\r\n\r\n", 400),
            (b"GET / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501),
        ],
    )
    def test_the_first_fault_counts(self, head: bytes, status: int) -> None:
        parser, _ = self.parser()
        with pytest.raises(RequestRefused) as caught:
            parser.feed_data(head)
        assert caught.value.status == status

    def test_methods_and_versions_that_are_permitted(self) -> None:
        parser, _ = self.parser(
            permit_unconventional_http_method=True, permit_unconventional_http_version=True, http="h11"
        )
        with pytest.raises(RequestRefused) as caught:
            parser.feed_data(b"FOO / HTTP/1.2\r\nX: a\x01\r\n\r\n")
        assert caught.value.status == 400

    def test_what_it_holds_is_bounded(self) -> None:
        parser, _ = self.parser(limit_request_line=100, limit_request_fields=10, limit_request_field_size=100)
        with pytest.raises(RequestRefused, match="the request line is longer"):
            parser.feed_data(b"x" * 1000)

    @pytest.mark.parametrize("unlimited", ["limit_request_line", "limit_request_field_size"])
    def test_without_limits_it_is_not(self, unlimited: str) -> None:
        parser, seen = self.parser(**{unlimited: 0})
        parser.feed_data(get("/" + "x" * 2_000_000))
        assert seen.events[-1] == "end"

    def test_nothing_is_read_after_the_last_request(self) -> None:
        parser, seen = self.parser()
        parser.feed_data(get("/1", "Connection: close") + get("/2"))
        assert [event for event in seen.events if event[0] == "url"] == [("url", b"/1")]
