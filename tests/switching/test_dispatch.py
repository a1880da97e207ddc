"""Which protocol a connection speaks: ALPN, the preface of HTTP/2, `Upgrade: h2c`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.http1.apps import Recorder, echo, hello
from tests.http2.conftest import Talk
from tests.http2.wire import settings_payload
from tests.scripted import Client, Harness, get, post
from uvicorn_worker.core.config import Config
from uvicorn_worker.http2.engine.codes import PREFACE, FrameType
from uvicorn_worker.switching.dispatch import alpn_protocols, check_protocols

Serve = Callable[..., Harness]


@pytest.fixture(params=["httptools", "h11"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Start harnesses, with each parser of HTTP/1.1: `serve(app, **options)`."""
    started: list[Harness] = []

    def start(app: Any, **options: Any) -> Harness:
        harness = Harness(app, **{"http2": "on", "parser": request.param, **options})
        started.append(harness)
        return harness

    yield start
    for harness in started:
        harness.close()


class FakeTLS:
    """What a TLS transport has in the place of `ssl_object`."""

    def __init__(self, chosen: str | None) -> None:
        self.chosen = chosen

    def selected_alpn_protocol(self) -> str | None:
        return self.chosen

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256


class TestCleartext:
    @pytest.mark.parametrize("each", [1, 5, 24, 1000])
    def test_the_preface_is_http2(self, serve: Serve, each: int) -> None:
        talk = Talk(serve(echo), begin=False)
        talk.send(talk.wire.preface(), talk.wire.post(b"body", b"/x"), each=each)
        assert talk.stream(1).body == b"POST /x body"

    @pytest.mark.parametrize("each", [1, 7, 1000])
    @pytest.mark.parametrize("options", [{}, {"http2": "off"}, {"http2_cleartext": "off"}])
    def test_anything_else_is_http1(self, serve: Serve, each: int, options: dict[str, str]) -> None:
        client = serve(echo, **options).connect().send(post(b"body", target="/PRI"), get(), each=each)
        assert [response.body for response in client.responses()] == [b"POST /PRI body", b"GET / "]

    @pytest.mark.parametrize("options", [{"http2": "off"}, {"http2_cleartext": "off"}, {"http2_cleartext": "upgrade"}])
    def test_the_preface_where_it_is_not_spoken(self, serve: Serve, options: dict[str, str]) -> None:
        client = serve(hello, **options).connect().send(PREFACE)
        assert client.response().status in (400, 501, 505)
        assert client.closed

    def test_it_begins_as_the_preface_and_is_not(self, serve: Serve) -> None:
        client = serve(hello).connect().send(b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n")
        assert client.response().status in (400, 501, 505)

    def test_nothing_at_all(self, serve: Serve) -> None:
        """As on HTTP/1.1: closed after the longer of timeout_request_head and timeout_keep_alive."""
        client = serve(hello, timeout_request_head=3, timeout_keep_alive=1).connect()
        client.harness.tick(3)
        assert client.open
        client.harness.tick(1)
        assert client.closed

    def test_a_connection_that_was_opened_ahead_waits_as_long_as_an_idle_one(self, serve: Serve) -> None:
        client = serve(hello, timeout_request_head=3, timeout_keep_alive=100).connect()
        client.harness.tick(99)
        assert client.open
        assert client.send(get()).response().status == 200
        silent = client.harness.connect()
        silent.harness.tick(101)
        assert silent.closed

    def test_a_first_byte_is_followed_by_the_rest_in_time(self, serve: Serve) -> None:
        client = serve(hello, timeout_request_head=3, timeout_keep_alive=100).connect()
        client.harness.tick(50)
        client.send(PREFACE[:3]).harness.tick(4)
        assert client.response().status == 408

    def test_a_client_that_leaves_or_ends_without_a_word(self, serve: Serve) -> None:
        harness = serve(hello)
        harness.connect().leave()
        assert harness.connect().eof().closed
        assert harness.runtime.connections == set()

    def test_the_server_stops(self, serve: Serve) -> None:
        """What was sent is still answered; a connection without a word is closed when time is up."""
        harness = serve(hello)
        silent, cut, late = harness.connect(), harness.connect(), harness.connect()
        for connection in list(harness.runtime.connections):
            connection.drain()
        assert late.send(get("/", "Connection: close")).response().status == 200
        harness.inside(cut.protocol.abort)  # type: ignore[attr-defined]
        for connection in list(harness.runtime.connections):
            connection.close_if_idle()
        harness.settle()
        assert silent.closed
        assert cut.closed

    def test_what_the_server_asks_before_anything_came(self, serve: Serve) -> None:
        harness = serve(hello)
        client = harness.connect()
        (connection,) = harness.runtime.connections
        assert connection.idle
        assert not connection.lingering
        client.send(PREFACE[:3])
        assert not connection.idle
        client.leave()

    def test_a_beginning_and_then_nothing(self, serve: Serve) -> None:
        client = serve(hello, timeout_request_head=3).connect().send(PREFACE[:3])
        client.harness.tick(4)
        assert client.response().status == 408
        assert client.closed

    def test_bytes_that_were_not_read_yet_keep_it_open(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        harness = serve(hello)
        client = harness.connect()
        (connection,) = harness.runtime.connections
        monkeypatch.setattr("uvicorn_worker.switching.new_connection.unread_in_kernel", lambda transport: True)
        connection.close_if_idle()
        assert client.send(get("/", "Connection: close")).response().status == 200


class TestTLS:
    @pytest.mark.parametrize("chosen", ["http/1.1", None])
    def test_http1(self, serve: Serve, chosen: str | None) -> None:
        client = Client(serve(hello), sslcontext=object(), ssl_object=FakeTLS(chosen), half_close=False)
        assert client.send(get()).response().status == 200

    def test_http2(self, serve: Serve) -> None:
        talk = Talk(serve(hello), sslcontext=object(), ssl_object=FakeTLS("h2"), half_close=False)
        assert talk.get().whole

    def test_whatever_cleartext_says(self, serve: Serve) -> None:
        harness = serve(hello, http2_cleartext="off")
        assert Talk(harness, sslcontext=object(), ssl_object=FakeTLS("h2"), half_close=False).get().whole


SETTINGS = base64.urlsafe_b64encode(settings_payload({3: 100, 4: 70000})).rstrip(b"=").decode()
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", f"HTTP2-Settings: {SETTINGS}")
LOCAL: dict[str, Any] = {"peername": ("127.0.0.1", 50123)}


class TestUpgrade:
    def upgrade(self, serve: Serve, app: Any, request: bytes, **options: Any) -> Talk:
        """Ask for the upgrade, then speak HTTP/2."""
        talk = Talk(serve(app, **options), begin=False, **LOCAL)
        talk.connection.send(request)
        head, _, rest = talk.connection.take().partition(b"\r\n\r\n")
        assert head == b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c", head
        talk.wire.receive(rest)
        talk.wire.next_id = 3
        return talk.send(talk.wire.preface())

    def test_the_request_is_answered_on_stream_1(self, serve: Serve) -> None:
        app = Recorder()
        talk = self.upgrade(serve, app, get("/a?b", *UPGRADE, "Accept: */*", "TE: trailers"))
        assert talk.stream(1).body == b"Hello, world!"
        assert talk.stream(1).whole
        scope = app.scope
        assert (scope["http_version"], scope["method"], scope["path"], scope["scheme"]) == ("2", "GET", "/a", "http")
        assert scope["headers"] == [(b"host", b"example.org"), (b"accept", b"*/*"), (b"te", b"trailers")]
        assert talk.get(b"/more").whole

    def test_with_a_body(self, serve: Serve) -> None:
        talk = self.upgrade(serve, echo, post(b"body", *UPGRADE, target="/x"))
        assert talk.stream(1).body == b"POST /x body"
        assert talk.get(b"/more").body == b"GET /more "

    def test_with_a_body_that_comes_later(self, serve: Serve) -> None:
        talk = Talk(serve(echo), begin=False, **LOCAL)
        asked = post(b"body", *UPGRADE, "Expect: 100-continue")
        talk.connection.send(asked[:-4])
        assert talk.connection.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.connection.send(asked[-4:-2], asked[-2:])
        head, _, rest = talk.connection.take().partition(b"\r\n\r\n")
        assert b" 101 " in head
        talk.wire.receive(rest)
        talk.send(talk.wire.preface())
        assert talk.stream(1).body == b"POST / body"

    def test_a_client_that_does_not_wait_for_the_answer(self, serve: Serve) -> None:
        talk = Talk(serve(hello), begin=False, **LOCAL)
        wire = talk.wire
        talk.connection.send(get("/", *UPGRADE) + wire.preface() + wire.request(stream_id=3))
        talk.wire.receive(talk.connection.take().partition(b"\r\n\r\n")[2])
        assert talk.stream(1).whole
        assert talk.stream(3).whole

    def test_its_settings_are_the_clients(self, serve: Serve) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": bytes(100)})

        small = base64.urlsafe_b64encode(settings_payload({4: 10})).rstrip(b"=").decode()
        fields = (*UPGRADE[:2], f"HTTP2-Settings: {small}")
        talk = self.upgrade(serve, app, get("/", *fields))
        assert len(talk.stream(1).body) == 10

    def test_a_client_may_take_its_time_with_the_preface(self, serve: Serve) -> None:
        """Busy as it is, it has the response and has not read the 101; it would meet a close with its preface."""
        talk = Talk(serve(hello, timeout_keep_alive=2, timeout_request_head=20), begin=False, **LOCAL)
        talk.connection.send(get("/", *UPGRADE))
        for _ in range(8):
            talk.harness.tick(2)
        talk.wire.receive(talk.connection.take().partition(b"\r\n\r\n")[2])
        talk.wire.next_id = 3
        talk.send(talk.wire.preface())
        assert talk.stream(1).whole
        assert talk.get(b"/more").whole
        for _ in range(3):
            talk.harness.tick(2)
        assert talk.connection.closed

    def test_but_not_for_ever(self, serve: Serve) -> None:
        talk = Talk(serve(hello, timeout_keep_alive=2, timeout_request_head=10), begin=False, **LOCAL)
        talk.connection.send(get("/", *UPGRADE))
        for _ in range(8):
            talk.harness.tick(2)
        talk.wire.receive(talk.connection.take().partition(b"\r\n\r\n")[2])
        assert talk.wire.frames[-1].kind == FrameType.GOAWAY
        assert talk.connection.closed

    def test_behind_another_request(self, serve: Serve) -> None:
        harness = serve(hello)
        client = harness.connect(**LOCAL).send(get())
        client.take()
        client.send(get("/", *UPGRADE))
        assert b" 101 " in client.take()

    def test_a_list_of_protocols(self, serve: Serve) -> None:
        fields = (UPGRADE[0], "Upgrade: TLS/1.0, h2c", UPGRADE[2])
        assert b" 101 " in serve(hello).connect(**LOCAL).send(get("/", *fields)).take()

    def test_the_client_leaves_within_the_body(self, serve: Serve) -> None:
        harness = serve(echo)
        client = harness.connect(**LOCAL).send(post(b"body", *UPGRADE)[:-2]).leave()
        assert client.take() == b""
        assert harness.runtime.cycles == set()

    DECLINED: dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]] = {  # noqa: RUF012
        "a peer that is not trusted": (get("/", *UPGRADE), {}, {"peername": ("192.0.2.7", 50123)}),
        "no settings": (get("/", *UPGRADE[:2]), {}, LOCAL),
        "settings that connection does not name": (get("/", "Connection: Upgrade", *UPGRADE[1:]), {}, LOCAL),
        "settings twice": (get("/", *UPGRADE, UPGRADE[2]), {}, LOCAL),
        "settings that are not base64url": (get("/", *UPGRADE[:2], "HTTP2-Settings: A+=="), {}, LOCAL),
        "settings of a wrong length": (get("/", *UPGRADE[:2], "HTTP2-Settings: AAMA"), {}, LOCAL),
        "base64 of no length": (get("/", *UPGRADE[:2], "HTTP2-Settings: AAMAA"), {}, LOCAL),
        "settings that are not valid": (get("/", *UPGRADE[:2], "HTTP2-Settings: AAT_____"), {}, LOCAL),
        "HTTP/1.0": (get("/", *UPGRADE, "Connection: keep-alive", version="1.0"), {}, LOCAL),
        "turned off": (get("/", *UPGRADE), {"http2_cleartext": "prior-knowledge"}, LOCAL),
        "HTTP/2 turned off": (get("/", *UPGRADE), {"http2": "off"}, LOCAL),
        "TLS": (get("/", *UPGRADE), {}, {**LOCAL, "sslcontext": object(), "half_close": False}),
        "a field that HTTP/2 does not allow": (get("/", *UPGRADE, "TE: gzip"), {}, LOCAL),
        "a chunked body": (
            get("/", *UPGRADE, "Transfer-Encoding: chunked", method="POST") + b"4\r\nbody\r\n0\r\n\r\n",
            {},
            LOCAL,
        ),
        "a large body": (post(bytes(65537), *UPGRADE), {}, LOCAL),
        "a body of a peer that is not trusted": (post(b"body", *UPGRADE), {}, {"peername": ("192.0.2.7", 50123)}),
        "a body where it is turned off": (post(b"body", *UPGRADE), {"http2_cleartext": "prior-knowledge"}, LOCAL),
    }

    @pytest.mark.parametrize("why", DECLINED)
    def test_it_is_served_as_http1_otherwise(self, serve: Serve, why: str) -> None:
        request, options, transport = self.DECLINED[why]
        client = serve(hello, **options).connect(**transport).send(request)
        response = client.response()
        assert (response.status, response.body) == (200, b"Hello, world!")

    def test_not_while_another_request_runs(self, serve: Serve) -> None:
        client = serve(hello).connect(**LOCAL).send(get() + get("/", *UPGRADE))
        assert [response.status for response in client.responses()] == [200, 200]

    def test_over_a_unix_socket(self, serve: Serve) -> None:
        client = serve(hello).connect(peername="", sockname="/run/app.sock").send(get("/", *UPGRADE))
        assert b" 101 " in client.take()

    def test_websockets_are_still_upgraded_to(self, serve: Serve) -> None:
        fields = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "websocket"
            await receive()
            await send({"type": "websocket.accept"})

        assert b" 101 " in serve(app).connect().send(get("/", *fields)).take()

    def test_websocket_turned_off_beside_it(self, serve: Serve) -> None:
        talk = self.upgrade(serve, hello, get("/", *UPGRADE), ws="none")
        assert talk.stream(1).whole


class TestChoices:
    """What can be said of a configuration before there is a connection."""

    @pytest.mark.parametrize("options", [{}, {"http2": "on"}, {"http2": "on", "http2_engine": "h2"}, {"http": "h11"}])
    def test_what_is_there_can_be_spoken(self, options: dict[str, Any]) -> None:
        check_protocols(Config(hello, **options))

    def test_alpn(self) -> None:
        assert list(alpn_protocols(Config(hello))) == ["http/1.1"]
        assert list(alpn_protocols(Config(hello, http2="on"))) == ["h2", "http/1.1"]

    def test_without_a_time_for_the_first_byte(self, serve: Serve) -> None:
        client = serve(hello, timeout_keep_alive=0, timeout_request_head=None).connect()
        client.send(get())
        assert client.response().status == 200
