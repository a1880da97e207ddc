"""Request targets on the wire (RFC 9112, 3.2), and the Host field that goes with them."""

from __future__ import annotations

import pytest

from tests.http1.apps import Recorder
from tests.http1.conftest import Connect
from tests.scripted import get


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/", "/", b"/", b""),
        ("/a/b", "/a/b", b"/a/b", b""),
        ("//a//b", "//a//b", b"//a//b", b""),
        ("/a/../b/./c", "/a/../b/./c", b"/a/../b/./c", b""),
        ("/a;p=1", "/a;p=1", b"/a;p=1", b""),
        ("/?", "/", b"/", b""),
        ("/?a=b", "/", b"/", b"a=b"),
        ("/?a?b", "/", b"/", b"a?b"),
        ("/a?b=%20+%C3%A9", "/a", b"/a", b"b=%20+%C3%A9"),
        ("/%61%2F%25", "/a/%", b"/%61%2F%25", b""),
        ("/%c3%a9", "/é", b"/%c3%a9", b""),
        ("/%E2%82%AC/%F0%9F%98%80", "/€/😀", b"/%E2%82%AC/%F0%9F%98%80", b""),
        ("/%zz%4", "/%zz%4", b"/%zz%4", b""),
        ("/%ff", "/\ufffd", b"/%ff", b""),
        ("/a+b", "/a+b", b"/a+b", b""),
        ("/http://example.com/", "/http://example.com/", b"/http://example.com/", b""),
        ("http://example.com/a%20b?q", "/a b", b"/a%20b", b"q"),
        ("http://example.com", "/", b"/", b""),
        ("HTTP://example.com:8000/x", "/x", b"/x", b""),
        ("https://example.com/x", "/x", b"/x", b""),
        ("http://example.com?q=1/2", "/", b"/", b"q=1/2"),
        ("http://[2001:db8::1]:80/x", "/x", b"/x", b""),
    ],
)
@pytest.mark.parametrize("each", [None, 1])
def test_paths(connect: Connect, target: str, path: str, raw_path: bytes, query: bytes, each: int | None) -> None:
    app = Recorder()
    client = connect(app).send(get(target), each=each)
    assert client.response().status == 200
    scope = app.scope
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_asterisk_form(connect: Connect) -> None:
    app = Recorder()
    connect(app).send(get("*", method="OPTIONS"))
    assert (app.scope["path"], app.scope["raw_path"], app.scope["query_string"]) == ("*", b"*", b"")


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("*", "GET"),
        ("a/b", "GET"),
        ("example.com:443", "GET"),
        ("?q", "GET"),
        ("#f", "GET"),
        ("*#f", "GET"),
        ("http://#f", "GET"),
        ("http://example.com#f", "GET"),
        ("http://", "GET"),
        ("http:///x", "GET"),
        ("http://?q", "GET"),
        ("http://user@example.com/x", "GET"),
        ("http://user:word@example.com/x", "GET"),
        ("http://example.com:port/x", "GET"),
        ("http://example.com:80:90/x", "GET"),
        ("ftp://example.com/x", "GET"),
        ("mailto:someone@example.com", "GET"),
        ("/\xe9", "GET"),
        ("/a\tb", "GET"),
        ("/a\x00b", "GET"),
        ("/a\x7fb", "GET"),
        ("/a b", "GET"),
    ],
)
def test_what_is_none_is_400(connect: Connect, target: str, method: str) -> None:
    app = Recorder()
    client = connect(app).send(get(target, method=method))
    assert client.response().status == 400
    assert client.closed
    assert app.scopes == []


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/#f", "/", b""),
        ("/a#b", "/a", b""),
        ("/a?b#c?d", "/a", b"b"),
        ("/a#b#c", "/a", b""),
        ("http://example.com/a#f", "/a", b""),
        ("http://example.com?q#f", "/", b"q"),
    ],
)
def test_a_fragment_is_left_out(connect: Connect, target: str, path: str, query: bytes) -> None:
    """No client should send one; some do, and every other server takes it."""
    app = Recorder()
    client = connect(app).send(get(target), get(target))
    assert [response.status for response in client.responses()] == [200, 200]
    for scope in app.scopes:
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, path.encode(), query)


@pytest.mark.parametrize("target", ["example.com:443", "/", "http://example.com/"])
def test_connect_is_501(connect: Connect, target: str) -> None:
    app = Recorder()
    client = connect(app).send(get(target, method="CONNECT"), b"\x16\x03\x01")
    assert client.response().status == 501
    assert client.closed
    assert app.scopes == []


class TestHost:
    @pytest.mark.parametrize(
        "value",
        [
            "a b",
            "a/b",
            "user@host",
            "host:port",
            "a, b",
            "a,b",
            "a?b",
            "a#b",
            "[::1",
            "1:2:3:4:5",
            "a:1:2",
            "a\\b",
            "a\xe9",
            '"a"',
            "%zz",
        ],
    )
    def test_one_that_is_not_host_and_port_is_400(self, connect: Connect, value: str) -> None:
        """RFC 9112, 3.2."""
        app = Recorder()
        client = connect(app).send(b"GET / HTTP/1.1\r\nHost: " + value.encode("latin-1") + b"\r\n\r\n")
        assert client.response().status == 400
        assert client.closed
        assert app.scopes == []

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "::1",
            "a",
            "a:",
            "a:80",
            "A.Example",
            "my_service:8000",
            "127.0.0.1",
            "[::1]:80",
            "[fe80::1%25eth0]",
            "a.",
            "%41",
            "x~y",
        ],
    )
    def test_one_that_is(self, connect: Connect, value: str) -> None:
        app = Recorder()
        request = b"GET / HTTP/1.1\r\nHost: " + value.encode() + b"\r\n\r\n"
        # The second is known already.
        first, second = connect(app).send(request + request).responses()
        assert first.status == second.status == 200
        assert [scope["headers"] for scope in app.scopes] == [[(b"host", value.encode())]] * 2

    def test_the_authority_of_the_target_takes_its_place(self, connect: Connect) -> None:
        app = Recorder()
        request = b"GET http://target.example:81/ HTTP/1.1\r\nA: b\r\nHost: field.example\r\nC: d\r\n\r\n"
        connect(app).send(request)
        assert app.scope["headers"] == [(b"host", b"target.example:81"), (b"a", b"b"), (b"c", b"d")]

    @pytest.mark.parametrize("target", ["/", "http://example.com/"])
    def test_without_one_it_is_400(self, connect: Connect, target: str) -> None:
        client = connect(Recorder()).send(f"GET {target} HTTP/1.1\r\nA: b\r\n\r\n".encode())
        assert client.response().status == 400
        assert client.closed

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    @pytest.mark.parametrize("second", ["Host: example.org", "Host: other.example", "HOST:"])
    def test_with_two_it_is_400(self, connect: Connect, version: str, second: str) -> None:
        client = connect(Recorder()).send(get("/", second, version=version))
        assert client.response().status == 400
        assert client.closed

    def test_it_may_be_empty(self, connect: Connect) -> None:
        app = Recorder()
        connect(app).send(b"GET / HTTP/1.1\r\nHost:\r\n\r\n")
        assert app.scope["headers"] == [(b"host", b"")]
