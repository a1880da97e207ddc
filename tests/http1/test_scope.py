"""The connection scope, exactly by ASGI HTTP 2.5."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import Recorder, answer
from tests.http1.conftest import Connect, Serve
from tests.scripted import get
from uvicorn_worker.core.asgi import Receive, Scope, Send


def scope_of(serve: Serve, request: bytes, *, transport: dict[str, Any] | None = None, **options: Any) -> Any:
    app = Recorder()
    serve(app, **options).connect(**(transport or {})).send(request)
    return app.scope


def test_it_is_this(serve: Serve) -> None:
    scope = scope_of(serve, get("/a%20b/%C3%A9?q=%201&r", "X-Custom: Value", "Accept:  */*"))
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b/é",
        "raw_path": b"/a%20b/%C3%A9",
        "query_string": b"q=%201&r",
        "root_path": "",
        "headers": [(b"host", b"example.org"), (b"x-custom", b"Value"), (b"accept", b"*/*")],
        "client": ("192.0.2.7", 50123),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {
            "http.response.trailers": {},
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.zerocopysend": {},
        },
    }


def test_the_types_are_these(serve: Serve) -> None:
    scope = scope_of(serve, get("/?q", "A: b"))
    assert type(scope) is dict
    for key in ("type", "http_version", "method", "scheme", "path", "root_path"):
        assert type(scope[key]) is str, key
    for key in ("raw_path", "query_string"):
        assert type(scope[key]) is bytes, key
    assert type(scope["headers"]) is list
    assert all(type(name) is type(value) is bytes for name, value in scope["headers"])
    assert [type(part) for part in scope["client"]] == [str, int]
    assert [type(part) for part in scope["server"]] == [str, int]


def test_names_are_in_lower_case_and_values_as_they_came(serve: Serve) -> None:
    scope = scope_of(serve, get("/", "X-UPPER: MiXed", "x-Bytes: \xe9\xff", "X-Inner:  a  b  ", "X-Empty:"))
    assert scope["headers"][1:] == [
        (b"x-upper", b"MiXed"),
        (b"x-bytes", b"\xe9\xff"),
        (b"x-inner", b"a  b"),
        (b"x-empty", b""),
    ]


def test_white_space_around_a_value_is_no_part_of_it(serve: Serve) -> None:
    app = Recorder()
    fields = ("X-A: \t a \t ", "X-B:b", "X-C: ")
    serve(app).connect().send(get("/1", *fields) + get("/2", *fields), get("/3", *fields))
    for scope in app.scopes:
        assert scope["headers"][1:] == [(b"x-a", b"a"), (b"x-b", b"b"), (b"x-c", b"")]


def test_repeated_fields_stay_apart_and_in_order(serve: Serve) -> None:
    scope = scope_of(serve, get("/", "B: 1", "A: 2", "B: 3"))
    assert scope["headers"][1:] == [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT"]
)
def test_methods(serve: Serve, method: str) -> None:
    assert scope_of(serve, get(method=method))["method"] == method


def test_http10(serve: Serve) -> None:
    assert scope_of(serve, get(version="1.0"))["http_version"] == "1.0"


def test_http10_needs_no_host(serve: Serve) -> None:
    assert scope_of(serve, b"GET / HTTP/1.0\r\n\r\n")["headers"] == []


@pytest.mark.parametrize(
    ("peername", "sockname", "client", "server"),
    [
        (("203.0.113.5", 1234), ("192.0.2.1", 80), ("203.0.113.5", 1234), ("192.0.2.1", 80)),
        (("2001:db8::7", 1234, 0, 0), ("::1", 8000, 0, 0), ("2001:db8::7", 1234), ("::1", 8000)),
        (["203.0.113.5", 1234], ["192.0.2.1", 80], ("203.0.113.5", 1234), ("192.0.2.1", 80)),
        ("", "/run/app.sock", None, ("/run/app.sock", None)),
        (b"", b"\0abstract", None, ("\0abstract", None)),
        (None, "", None, None),
        (None, None, None, None),
    ],
    ids=["tcp", "ipv6", "lists", "unix", "abstract", "unnamed", "unknown"],
)
def test_addresses(serve: Serve, peername: Any, sockname: Any, client: Any, server: Any) -> None:
    scope = scope_of(serve, get(), transport={"peername": peername, "sockname": sockname})
    assert scope["client"] == client
    assert scope["server"] == server


def test_connections_to_two_addresses_are_not_mixed_up(serve: Serve) -> None:
    app = Recorder()
    harness = serve(app)
    harness.connect(sockname=("127.0.0.1", 1)).send(get())
    harness.connect(sockname="/run/app.sock", peername="").send(get())
    harness.connect(sockname=("127.0.0.1", 1), sslcontext=object()).send(get())
    harness.connect(sockname=("127.0.0.1", 1)).send(get())
    assert [(scope["server"], scope["scheme"]) for scope in app.scopes] == [
        (("127.0.0.1", 1), "http"),
        (("/run/app.sock", None), "http"),
        (("127.0.0.1", 1), "https"),
        (("127.0.0.1", 1), "http"),
    ]


class TestState:
    def test_each_request_has_a_shallow_copy(self, serve: Serve) -> None:
        shared: list[int] = []
        app = Recorder()
        harness = serve(app)
        harness.runtime.state = {"shared": shared}
        client = harness.connect().send(get())
        app.scopes[0]["state"]["own"] = 1
        app.scopes[0]["state"]["shared"].append(2)
        client.send(get())
        assert app.scopes[1]["state"] == {"shared": [2]}
        assert app.scopes[1]["state"]["shared"] is shared
        assert harness.runtime.state == {"shared": [2]}

    def test_without_lifespan_state_it_is_empty(self, serve: Serve) -> None:
        assert scope_of(serve, get())["state"] == {}


def test_a_scope_may_be_changed(serve: Serve) -> None:
    app = Recorder()
    client = serve(app).connect().send(get("/1"))
    first = app.scopes[0]
    first["headers"].append((b"x", b"y"))
    first["path"] = first["root_path"] = first["http_version"] = "changed"
    first["server"] = None
    client.send(get("/2"))
    second = app.scopes[1]
    assert second["headers"] == [(b"host", b"example.org")]
    assert (second["path"], second["root_path"], second["http_version"]) == ("/2", "", "1.1")
    assert second["server"] == ("127.0.0.1", 8000)


class TestRootPath:
    def test_it_is_put_before_the_path(self, serve: Serve) -> None:
        # ASGI HTTP 2.5: path is the full path; raw_path the same, before it was decoded.
        scope = scope_of(serve, get("/a%20b?q"), root_path="/mounted")
        assert scope["root_path"] == "/mounted"
        assert scope["path"] == "/mounted/a b"
        assert scope["raw_path"] == b"/mounted/a%20b"
        assert scope["query_string"] == b"q"

    def test_without_one_the_path_is_the_clients(self, serve: Serve) -> None:
        scope = scope_of(serve, get("/mounted/x"))
        assert (scope["root_path"], scope["path"]) == ("", "/mounted/x")


def test_what_it_says_of_asgi_is_its_own(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
        scope["asgi"].clear()
        await answer(send)

    client = connect(app).send(get() * 2, get())
    assert [response.status for response in client.responses()] == [200] * 3
