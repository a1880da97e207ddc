"""A connection from a proxy: what it says of its requests reaches their scopes, and nobody else's word does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests.http1.apps import Recorder
from tests.scripted import Client, Harness, get, post
from uvicorn_worker.http1 import Http1Protocol

PROXY = ("127.0.0.1", 40000)
STRANGER = ("192.0.2.7", 50123)
UNIX = {"peername": "", "sockname": "/run/app.sock"}
FORWARDED = ("X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https")
OTHERS = ("X-Forwarded-For: 203.0.113.6:99", "X-Forwarded-Proto: http")

Connect = Callable[..., tuple[Recorder, Client]]


@pytest.fixture(params=["httptools", "h11"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A connection, from the proxy unless it says otherwise, to an application that records its scopes."""
    started: list[Harness] = []

    def start(transport: dict[str, Any] | None = None, **options: Any) -> tuple[Recorder, Client]:
        app = Recorder()
        harness = Harness(app, parser=request.param, **options)
        started.append(harness)
        return app, harness.connect(**({"peername": PROXY} if transport is None else transport))

    yield start
    for harness in started:
        harness.close()


def seen(app: Recorder) -> list[tuple[Any, str]]:
    return [(scope["client"], scope["scheme"]) for scope in app.scopes]


class TestWhoIsBelieved:
    @pytest.mark.parametrize("transport", [{"peername": PROXY}, {"peername": ("::1", 1, 0, 0)}, UNIX])
    def test_a_proxy(self, connect: Connect, transport: dict[str, Any]) -> None:
        app, client = connect(transport)
        client.send(get("/", *FORWARDED))
        assert seen(app) == [(("203.0.113.5", 0), "https")]

    @pytest.mark.parametrize(
        ("transport", "options", "peer"),
        [
            ({"peername": STRANGER}, {}, STRANGER),
            ({"peername": PROXY}, {"forwarded_allow_ips": "10.0.0.1"}, PROXY),
            ({"peername": PROXY}, {"proxy_headers": False}, PROXY),
            (UNIX, {"forwarded_allow_ips": "127.0.0.1"}, None),
            # A TCP socket that was reset has no peer either.
            ({"peername": None}, {}, None),
            ({"peername": None, "sockname": None}, {"forwarded_allow_ips": "*"}, None),
        ],
    )
    def test_nobody_else(self, connect: Connect, transport: Any, options: Any, peer: Any) -> None:
        app, client = connect(transport, **options)
        client.send(get("/", *FORWARDED), get("/", "X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"))
        assert seen(app) == [(peer, "http")] * 2
        assert (b"x-forwarded-for", b"203.0.113.5") in app.scopes[0]["headers"]

    def test_a_network(self, connect: Connect) -> None:
        app, client = connect({"peername": ("::ffff:10.1.2.3", 1)}, forwarded_allow_ips=["10.0.0.0/8"])
        client.send(get("/", *FORWARDED))
        assert seen(app) == [(("203.0.113.5", 0), "https")]


class TestRequests:
    def test_each_has_its_own(self, connect: Connect) -> None:
        app, client = connect()
        requests = [get("/", *FORWARDED), get(), get("/", *OTHERS), get("/", *FORWARDED), get(), get()]
        client.send(*requests)
        first, second, plain = (("203.0.113.5", 0), "https"), (("203.0.113.6", 99), "http"), (PROXY, "http")
        assert seen(app) == [first, plain, second, first, plain, plain]

    @pytest.mark.parametrize("fields", [FORWARDED, ()])
    def test_the_same_again(self, connect: Connect, fields: tuple[str, ...]) -> None:
        app, client = connect()
        for _ in range(5):
            client.send(get("/", *fields))
        client.send(get("/", *OTHERS))
        expected = (("203.0.113.5", 0), "https") if fields else (PROXY, "http")
        assert seen(app) == [expected] * 5 + [(("203.0.113.6", 99), "http")]

    def test_pipelined(self, connect: Connect) -> None:
        app, client = connect()
        client.send(get("/", *FORWARDED) + get() + get("/", *OTHERS))
        assert seen(app) == [(("203.0.113.5", 0), "https"), (PROXY, "http"), (("203.0.113.6", 99), "http")]

    def test_byte_by_byte(self, connect: Connect) -> None:
        app, client = connect()
        client.send(get("/", *FORWARDED) + post(b"12345", *OTHERS), each=1)
        assert seen(app) == [(("203.0.113.5", 0), "https"), (("203.0.113.6", 99), "http")]

    def test_trailers_mean_nothing(self, connect: Connect) -> None:
        """Also not for the request behind them."""
        app, client = connect()
        chunked = get("/", "Transfer-Encoding: chunked", method="POST")
        trailers = b"0\r\nX-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https\r\nA_B: c\r\n\r\n"
        client.send(chunked + trailers + get(), chunked + trailers, get())
        assert seen(app) == [(PROXY, "http")] * 4

    def test_a_scope_that_is_changed_does_not_show_in_the_next(self, connect: Connect) -> None:
        app, client = connect(forwarded_headers="for,proto,host,prefix")
        fields = (*FORWARDED, "X-Forwarded-Host: outer", "X-Forwarded-Prefix: /api")
        for _ in range(4):
            client.send(get("/x", *fields))
            scope = app.scopes[-1]
            assert (scope["client"], scope["scheme"], scope["server"]) == (("203.0.113.5", 0), "https", ("outer", 443))
            assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")
            assert scope["headers"][0] == (b"host", b"outer")
            scope["headers"].clear()
            scope.clear()
        client.send(get("/x"))
        assert (app.scopes[-1]["server"], app.scopes[-1]["path"]) == (("127.0.0.1", 8000), "/x")

    def test_an_absolute_target_and_a_forwarded_host(self, connect: Connect) -> None:
        app, client = connect(forwarded_headers="host")
        client.send(get("http://inner/x", "X-Forwarded-Host: outer"))
        assert [value for name, value in app.scopes[0]["headers"] if name == b"host"] == [b"outer"]

    def test_a_prefix_takes_the_place_of_root_path(self, connect: Connect) -> None:
        app, client = connect(forwarded_headers="prefix", root_path="/mounted")
        for fields in ((), ("X-Forwarded-Prefix: /api",), ("X-Forwarded-Prefix: /api",), ()):
            client.send(get("/x", *fields))
        assert [(scope["root_path"], scope["path"], scope["raw_path"]) for scope in app.scopes] == [
            ("/mounted", "/mounted/x", b"/mounted/x"),
            ("/api", "/api/x", b"/api/x"),
            ("/api", "/api/x", b"/api/x"),
            ("/mounted", "/mounted/x", b"/mounted/x"),
        ]

    def test_a_websocket(self, connect: Connect) -> None:
        app, client = connect()
        handshake = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        client.send(get("/", *handshake, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *FORWARDED))
        assert app.scopes[0]["type"] == "websocket"
        assert seen(app) == [(("203.0.113.5", 0), "wss")]

    def test_a_contradiction_is_answered_with_400(self, connect: Connect) -> None:
        app, client = connect()
        client.send(get(), get("/", "X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"), get())
        assert [response.status for response in client.responses()] == [200, 400]
        assert client.closed
        assert len(app.scopes) == 1


class TestNamesWithUnderscores:
    FIELDS = ("X_A: 1", "X-B: 2_2", "Script_Name: /s", "remote_user: me")

    def names(self, app: Recorder) -> list[bytes]:
        return [name for name, _ in app.scopes[-1]["headers"] if name != b"host"]

    @pytest.mark.parametrize(
        ("peer", "options", "kept"),
        [
            (STRANGER, {}, [b"x-b"]),
            (PROXY, {}, [b"x-b", b"script_name"]),
            (PROXY, {"proxy_headers": False}, [b"x-b", b"script_name"]),
            (PROXY, {"forwarder_headers": ["REMOTE_USER"]}, [b"x-b", b"remote_user"]),
            (PROXY, {"forwarder_headers": ""}, [b"x-b"]),
            (PROXY, {"forwarder_headers": "*"}, [b"x_a", b"x-b", b"script_name", b"remote_user"]),
            (STRANGER, {"forwarder_headers": "*"}, [b"x-b"]),
            (STRANGER, {"header_map": "dangerous"}, [b"x_a", b"x-b", b"script_name", b"remote_user"]),
        ],
    )
    @pytest.mark.parametrize("each", [None, 1])
    def test_what_is_kept(self, connect: Connect, peer: Any, options: Any, kept: list[bytes], each: int | None) -> None:
        app, client = connect({"peername": peer}, **options)
        for _ in range(4):
            client.send(get("/", *self.FIELDS), each=each)
            assert self.names(app) == kept
        client.send(get("/_", "X-Plain: _"))
        assert self.names(app) == [b"x-plain"]

    def test_pipelined(self, connect: Connect) -> None:
        app, client = connect()
        client.send(get("/", "X-A: 1") + get("/", "X_A: 1") + get("/", "X-A: 1"))
        assert [len(scope["headers"]) for scope in app.scopes] == [2, 1, 2]

    @pytest.mark.parametrize(("peer", "statuses"), [(STRANGER, [200, 400]), (PROXY, [200, 200])])
    def test_refuse(self, connect: Connect, peer: Any, statuses: list[int]) -> None:
        _, client = connect({"peername": peer}, header_map="refuse")
        client.send(get("/_", "X-B: _"), get("/", "SCRIPT_NAME: /s"))
        assert [response.status for response in client.responses()] == statuses
        client.send(get("/", "X_A: 1"))
        assert client.responses()[-1].status == 400

    def test_they_count_against_the_limit(self, connect: Connect) -> None:
        _, client = connect(limit_request_fields=2)
        client.send(get("/", "A_A: 1", "B_B: 2"))
        assert client.response().status == 431

    def test_the_names_that_are_remembered_have_a_bound(self, connect: Connect) -> None:
        app, client = connect()
        for number in range(1200):
            client.send(get("/", f"X-{number}: y", f"X-{'y' * 50}{number}: z"))
            assert self.names(app) == [b"x-%d" % number, b"x-" + b"y" * 50 + b"%d" % number]
        names = cast("Http1Protocol", client.protocol).shared.names
        assert len(names) <= 512
        assert max(map(len, names)) <= 40
