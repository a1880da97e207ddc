"""The ASGI scope of a request on HTTP/2, and what HTTP refuses about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, hello
from tests.http2.conftest import Converse, Serve, Talk
from uvicorn_worker.core.address import Endpoints


class TestScope:
    def test_a_plain_get(self, talk: Converse) -> None:
        app = Recorder()
        stream = talk(app).get(b"/a%20b/%C3%A9?q=%20", (b"accept", b"*/*"))
        assert stream.body == b"Hello, world!"
        assert app.scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": "GET",
            "scheme": "http",
            "path": "/a b/é",
            "raw_path": b"/a%20b/%C3%A9",
            "query_string": b"q=%20",
            "root_path": "",
            "headers": [(b"host", b"example.org"), (b"accept", b"*/*")],
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

    def test_files_are_not_sent_for_an_application_where_the_option_says_so(self, talk: Converse) -> None:
        app = Recorder()
        talk(app, pathsend="off").get(b"/x")
        assert "http.response.pathsend" not in app.scope["extensions"]

    def test_root_path(self, talk: Converse) -> None:
        app = Recorder()
        talk(app, root_path="/mounted at").get(b"/x")
        assert (app.scope["path"], app.scope["raw_path"]) == ("/mounted at/x", b"/mounted%20at/x")

    def test_cookies_are_one_field(self, talk: Converse) -> None:
        app = Recorder()
        talk(app).get(b"/", (b"cookie", b"a=1"), (b"cookie", b"b=2"))
        assert (b"cookie", b"a=1; b=2") in app.scope["headers"]

    def test_options_of_the_server(self, talk: Converse) -> None:
        app = Recorder()
        assert talk(app).get(b"*", method=b"OPTIONS").status == 200
        assert (app.scope["path"], app.scope["raw_path"]) == ("*", b"*")

    def test_over_tls(self, serve: Serve) -> None:
        """The scheme is that of the connection, whatever the client says."""
        app = Recorder()
        talk = Talk(serve(app), sslcontext=object(), half_close=False)
        talk.get(b"/", scheme=b"http")
        assert app.scope["scheme"] == "https"

    def test_over_a_unix_socket(self, serve: Serve) -> None:
        app = Recorder()
        Talk(serve(app), peername="", sockname="/run/app.sock").get()
        assert (app.scope["client"], app.scope["server"]) == (None, ("/run/app.sock", None))

    def test_each_request_has_its_own(self, talk: Converse) -> None:
        """Equal requests may come from one template: what an application does to its scope is its own."""
        app = Recorder(hello)

        async def vandal(scope: Any, receive: Any, send: Any) -> None:
            scope["state"]["seen"] = True
            scope["headers"].append((b"added", b"later"))
            scope["path"] = "/changed"
            scope["extensions"][f"own {len(app.scopes)}"] = {}
            await app(dict(scope), receive, send)

        connection = talk(vandal)
        for _ in range(3):
            connection.get(b"/same")
        assert [scope["headers"] for scope in app.scopes] == [[(b"host", b"example.org"), (b"added", b"later")]] * 3
        assert [scope["path"] for scope in app.scopes] == ["/changed"] * 3
        assert [len(scope["extensions"]) for scope in app.scopes] == [5] * 3
        assert connection.harness.runtime.state == {}

    def test_the_state_of_the_lifespan(self, serve: Serve) -> None:
        app = Recorder()
        harness = serve(app)
        harness.runtime.state["pool"] = 5
        Talk(harness).get()
        assert app.scope["state"] == {"pool": 5}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "a long path": ({"path": b"/" + b"x" * 9000}, {}, 414),
    "a path at the limit": ({"path": b"/" + b"x" * (8190 - 13 - 1)}, {}, 200),
    "a path above the limit": ({"path": b"/" + b"x" * (8190 - 13)}, {}, 414),
    "no limit on the path": ({"path": b"/" + b"x" * 9000}, {"limit_request_line": 0}, 200),
    "many fields": ({"fields": [(b"x-%d" % number, b"") for number in range(100)]}, {}, 431),
    "as many fields as are allowed": ({"fields": [(b"x-%d" % number, b"") for number in range(99)]}, {}, 200),
    "a long field": ({"fields": [(b"x", b"y" * 8190)]}, {}, 431),
    "a large head": (
        {"fields": [(b"x-%d" % number, b"y" * 300) for number in range(5)]},
        {"http2_max_header_list_size": 1024},
        431,
    ),
    "CONNECT": ({"method": b"CONNECT"}, {}, 0),
    "an unknown method": ({"method": b"BREW"}, {}, 200),
    "one of 21 characters": ({"method": b"B" * 21}, {}, 501),
    "a method in lower case": ({"method": b"get"}, {}, 501),
    "a method in lower case that is folded": ({"method": b"get"}, {"casefold_http_method": True}, 200),
    "another that is folded": ({"method": b"brew"}, {"casefold_http_method": True}, 200),
    "an unconventional method that is permitted": (
        {"method": b"brew"},
        {"permit_unconventional_http_method": True},
        200,
    ),
    "a path without a slash": ({"path": b"x"}, {}, 400),
    "an absolute target": ({"path": b"http://example.org/"}, {}, 400),
    "* of a GET": ({"path": b"*"}, {}, 400),
    "an expectation": ({"fields": [(b"expect", b"wonders")]}, {}, 417),
    "a fragment": ({"path": b"/#x"}, {}, 200),
    "a fragment alone": ({"path": b"#x"}, {}, 400),
    "a byte above 0x7f": ({"path": b"/\xe9"}, {}, 400),
    "a body that is announced too large": (
        {"fields": [(b"content-length", b"11")], "end": False, "method": b"POST"},
        {"limit_request_body": 10},
        413,
    ),
}


class TestProxies:
    """What a proxy says of where a request comes from, as on HTTP/1.1."""

    FORWARDED = ((b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https"))

    def test_of_a_trusted_peer(self, serve: Serve) -> None:
        app = Recorder()
        talk = Talk(serve(app), peername=("127.0.0.1", 50123))
        for _ in range(2):
            talk.get(b"/", *self.FORWARDED)
        assert [(scope["client"][0], scope["scheme"]) for scope in app.scopes] == [("203.0.113.9", "https")] * 2
        assert (b"x-forwarded-proto", b"https") in app.scopes[0]["headers"]
        talk.get(b"/")
        assert (app.scopes[2]["client"], app.scopes[2]["scheme"]) == (("127.0.0.1", 50123), "http")

    def test_of_anyone_else(self, talk: Converse) -> None:
        app = Recorder()
        talk(app).get(b"/", *self.FORWARDED)
        assert (app.scope["client"], app.scope["scheme"]) == (("192.0.2.7", 50123), "http")

    def test_host_and_prefix(self, serve: Serve) -> None:
        app = Recorder()
        harness = serve(app, forwarded_headers="host,prefix", root_path="/own")
        fields = ((b"x-forwarded-host", b"shop.example"), (b"x-forwarded-prefix", b"/outer"))
        Talk(harness, peername=("127.0.0.1", 50123)).get(b"/x", *fields)
        assert app.scope["headers"][0] == (b"host", b"shop.example")
        assert app.scope["root_path"].startswith("/outer")
        assert app.scope["path"].endswith("/x")

    def test_fields_that_contradict_each_other(self, serve: Serve) -> None:
        talk = Talk(serve(hello), peername=("127.0.0.1", 50123))
        fields = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-ssl", b"off"))
        assert talk.get(b"/", *fields).status == 400

    @pytest.mark.parametrize(
        ("header_map", "status", "kept"), [("drop", 200, False), ("dangerous", 200, True), ("refuse", 400, None)]
    )
    def test_names_with_underscores(self, talk: Converse, header_map: str, status: int, kept: bool | None) -> None:
        app = Recorder()
        assert talk(app, header_map=header_map).get(b"/", (b"x_own", b"1")).status == status
        assert kept is None or ((b"x_own", b"1") in app.scope["headers"]) == kept

    def test_the_proxy_protocol(self, serve: Serve) -> None:
        app = Recorder()
        harness = serve(app)
        endpoints = Endpoints(("203.0.113.9", 4000), ("198.51.100.1", 443), secure=True)
        make = harness.make_protocol
        harness.make_protocol = lambda: make(endpoints)  # type: ignore[call-arg]
        Talk(harness).get(b"/")
        scope = app.scope
        assert (scope["client"], scope["server"]) == (("203.0.113.9", 4000), ("198.51.100.1", 443))
        assert scope["scheme"] == "https"


class TestRefused:
    @pytest.mark.parametrize("what", REFUSED)
    def test_with_a_status_and_the_others_go_on(self, talk: Converse, log: Callable[..., list[str]], what: str) -> None:
        asked, options, status = REFUSED[what]
        connection = talk(hello, **options)
        asked = dict(asked)
        fields = asked.pop("fields", [])
        stream = connection.get(asked.pop("path", b"/"), *fields, **asked)
        if not status:
            assert stream.reset == 1
        else:
            assert stream.status == status
            assert stream.ended
        refused = [line for line in log() if line.startswith("Invalid request from 192.0.2.7:50123: ")]
        assert len(refused) == (status != 200)
        assert connection.get(b"/other").status == 200
        assert not connection.closed

    def test_connect_for_proxies(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.send(connection.wire.headers(1, [(b":method", b"CONNECT"), (b":authority", b"a:443")], end=False))
        assert connection.stream(1).status == 501

    def test_a_body_that_becomes_too_large(self, talk: Converse) -> None:
        received = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while True:
                event = await receive()
                received.append(event["type"])
                if event["type"] == "http.disconnect":
                    return

        connection = talk(app, limit_request_body=10)
        wire = connection.wire
        connection.send(wire.request(end=False, method=b"POST"), wire.data(1, b"0123456789"))
        assert connection.stream(1).heads == []
        connection.send(wire.data(1, b"x"))
        assert connection.stream(1).status == 413
        assert received == ["http.request", "http.disconnect"]

    def test_a_body_that_becomes_too_large_once_the_response_has_begun(self, talk: Converse) -> None:
        received = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
            while (event := await receive())["type"] == "http.request":
                received.append(event["body"])
            await send({"type": "http.response.body", "body": b" so good"})

        connection = talk(app, limit_request_body=10)
        wire = connection.wire
        connection.send(wire.request(end=False, method=b"POST"), wire.data(1, b"0123456789"))
        connection.send(wire.data(1, b"x"))
        assert received == [b"0123456789"]
        assert connection.stream(1).body == b"so far so good"

    def test_and_ends_before_the_application_asks_again(self, talk: Converse) -> None:
        received = []
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
            while (event := await receive())["type"] == "http.request":
                received.append((event["body"], event["more_body"]))
                await gate.wait()
            await send({"type": "http.response.body", "body": b" so good"})

        connection = talk(app, limit_request_body=10)
        wire = connection.wire
        connection.send(wire.request(end=False, method=b"POST"), wire.data(1, b"0123456789"))
        connection.send(wire.data(1, b"x"))
        connection.send(wire.data(1, b"y", end=True))
        gate.open()
        connection.harness.settle()
        connection.pull()
        assert received == [(b"0123456789", True)]
        assert connection.stream(1).body == b"so far so good"

    def test_limit_concurrency(self, talk: Converse) -> None:
        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/slow":
                await receive()
                await receive()
            await hello(scope, receive, send)

        connection = talk(slow, limit_concurrency=1)
        wire = connection.wire
        connection.send(wire.request(b"/slow", end=False))
        refused = connection.get(b"/")
        assert refused.status == 503
        assert refused.get(b"retry-after") == b"1"
        connection.send(wire.data(1, b"", end=True))
        connection.send(wire.reset(1))
        assert connection.get(b"/").status == 200


def test_what_it_says_of_asgi_is_its_own(talk: Converse) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
        scope["asgi"].clear()
        await answer(send)

    connection = talk(app, asgi_spec_version="2.4")
    assert [connection.get().status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("varied", [True, False])
def test_what_the_application_changes_does_not_show_in_the_next(talk: Converse, varied: bool) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["query_string"], len(scope["headers"]), sorted(scope["extensions"])))
        scope["headers"].clear()
        for name in ("state", "extensions", "asgi"):
            scope[name].clear()
            scope[name]["changed"] = True
        scope["path"] = "/changed"
        await answer(send, b"")

    client = talk(app)
    for number in range(8):
        target = b"/?%d" % number if varied else b"/?"
        assert client.get(target, (b"accept", b"*/*"), (b"x-id", b"%d" % (number * varied))).status == 200
    assert [query for _, query, *_ in seen] == [b"%d" % number if varied else b"" for number in range(8)]
    assert {(path, fields, *extensions) for path, _, fields, extensions in seen} == {("/", 3, *seen[0][3])}
