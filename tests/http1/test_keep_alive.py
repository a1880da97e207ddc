"""Whether a connection persists after a response (RFC 9112, 9.3), and for how long."""

from __future__ import annotations

import pytest

from tests.http1.apps import Gate, Recorder, body, echo, hello, respond, start, stream
from tests.http1.conftest import Connect, Serve
from tests.scripted import get, post


def test_http11_persists(connect: Connect) -> None:
    client = connect(echo).send(get("/1"))
    assert client.open
    assert client.response().get("connection") is None
    client.send(get("/2"))
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"GET /2 "]
    assert client.open


@pytest.mark.parametrize("option", ["close", "Close", "foo, close", "close, foo", "keep-alive, close"])
def test_the_client_may_ask_for_the_end(connect: Connect, option: str) -> None:
    client = connect(hello).send(get("/", f"Connection: {option}"))
    assert client.response().closes
    assert client.closed


def test_an_option_that_only_looks_like_close_is_none(connect: Connect) -> None:
    client = connect(hello).send(get("/", "Connection: closed, x-close"))
    assert not client.response().closes
    assert client.open


def test_http10_does_not_persist(connect: Connect) -> None:
    client = connect(hello).send(get(version="1.0"))
    assert client.response().closes
    assert client.closed


def test_http10_persists_where_the_client_asks_for_it(connect: Connect) -> None:
    client = connect(echo)
    for path in ("/1", "/2"):
        client.send(get(path, "Connection: Keep-Alive", version="1.0"))
    assert [response.get("connection") for response in client.responses()] == ["keep-alive", "keep-alive"]
    assert client.open


@pytest.mark.parametrize("others", [[], ["Connection: close"], ["Connection: foo"]])
def test_http10_does_not_persist_for_proxy_connection(connect: Connect, others: list[str]) -> None:
    fields = [*others, "Proxy-Connection: keep-alive"]
    client = connect(echo).send(get("/1", *fields, version="1.0") + get("/2", *fields, version="1.0"))
    assert [(response.body, response.closes) for response in client.responses()] == [(b"GET /1 ", True)]
    assert client.closed


def test_http10_persists_beside_proxy_connection(connect: Connect) -> None:
    fields = ["Proxy-Connection: keep-alive", "Connection: keep-alive"]
    client = connect(echo).send(get("/1", *fields, version="1.0") + get("/2", *fields, version="1.0"))
    assert [response.get("connection") for response in client.responses()] == ["keep-alive", "keep-alive"]
    assert client.open


def test_http10_without_a_length_ends_with_the_connection(connect: Connect) -> None:
    client = connect(stream(b"one", b"two")).send(get("/", "Connection: keep-alive", version="1.0"))
    response = client.response()
    assert (response.body, response.framing) == (b"onetwo", "close")
    assert response.closes
    assert client.closed


@pytest.mark.parametrize("value", [b"close", b"Close", b"foo, close"])
def test_the_application_may_close(connect: Connect, value: bytes) -> None:
    client = connect(respond(start(200, [(b"Connection", value)]), body(b"hi"))).send(get())
    assert client.response().closes
    assert client.closed


def test_the_application_can_not_keep_open_what_the_client_closes(connect: Connect) -> None:
    client = connect(respond(start(200, [(b"connection", b"keep-alive")]), body(b"hi")))
    client.send(get("/", "Connection: close"))
    assert client.response().get_all("connection") == ["close"]
    assert client.closed


def test_without_keep_alive_each_connection_has_one_request(connect: Connect) -> None:
    client = connect(hello, timeout_keep_alive=0).send(get())
    assert client.response().closes
    assert client.closed


def test_nothing_is_read_after_the_last_request(connect: Connect) -> None:
    app = Recorder()
    client = connect(app).send(get("/1", "Connection: close") + get("/2"))
    assert client.response().closes
    assert app.paths == ["/1"]
    assert client.closed


def test_nothing_is_read_after_the_last_request_while_it_runs(connect: Connect) -> None:
    app = Gate()
    client = connect(app).send(get("/1", "Connection: close"), get("/2"), b"\x00\x01 nonsense")
    app.open()
    client.harness.settle()
    assert client.response().closes
    assert app.paths == ["/1"]
    assert client.closed


class TestTime:
    def test_an_idle_connection_is_closed(self, connect: Connect) -> None:
        client = connect(hello, timeout_keep_alive=5).send(get())
        client.harness.tick(5)
        assert client.open
        client.harness.tick(1)
        assert client.closed
        assert client.response().status == 200

    def test_a_request_starts_the_time_anew(self, connect: Connect) -> None:
        client = connect(hello, timeout_keep_alive=5).send(get())
        for _ in range(4):
            client.harness.tick(4)
            client.send(get())
        assert client.open
        client.harness.tick(6)
        assert client.closed
        assert len(client.responses()) == 5

    def test_a_running_request_has_all_the_time(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app, timeout_keep_alive=1, timeout_request_head=1).send(get())
        client.harness.tick(60)
        assert client.open
        app.open()
        client.harness.settle()
        assert client.response().status == 200

    def test_a_body_that_the_application_waits_for_has_all_the_time(self, connect: Connect) -> None:
        client = connect(echo, timeout_keep_alive=1, timeout_request_head=1)
        request = post(b"body")
        client.send(request[:-2])
        client.harness.tick(60)
        client.send(request[-2:])
        assert client.response().body == b"POST / body"

    def test_a_connection_that_says_nothing_is_closed_without_a_word(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=10)
        client.harness.tick(10)
        assert client.open
        client.harness.tick(1)
        assert client.closed
        assert client.transport.output == b""

    def test_a_connection_may_say_nothing_where_there_is_no_limit(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=0)
        client.harness.tick(600)
        assert client.send(get("/")).response().status == 200

    def test_empty_lines_do_not_buy_time(self, connect: Connect) -> None:
        client = connect(hello, timeout_keep_alive=5).send(get())
        for _ in range(6):
            client.harness.tick(1)
            client.send(b"\r\n")
        assert client.closed
        assert client.response().status == 200


class TestDraining:
    def test_the_answer_says_close(self, serve: Serve) -> None:
        app = Gate()
        harness = serve(app)
        client = harness.connect().send(get())
        harness.runtime.draining = True
        app.open()
        harness.settle()
        assert client.response().closes
        assert client.closed

    def test_an_idle_connection_is_served_once_more(self, serve: Serve) -> None:
        harness = serve(hello)
        client = harness.connect().send(get())
        harness.runtime.draining = True
        client.send(get())
        assert [response.closes for response in client.responses()] == [False, True]
        assert client.closed

    def test_requests_that_were_sent_are_answered_before_the_close(self, serve: Serve) -> None:
        app = Gate()
        harness = serve(app)
        client = harness.connect().send(get("/1") + get("/2") + get("/3"))
        harness.runtime.draining = True
        for _ in range(3):
            app.open()
            harness.settle()
        assert [response.closes for response in client.responses()] == [False, False, True]
        assert app.paths == ["/1", "/2", "/3"]
        assert client.closed

    def test_an_idle_connection_may_be_closed(self, serve: Serve) -> None:
        harness = serve(hello)
        idle, silent = harness.connect().send(get()), harness.connect()
        for connection in list(harness.runtime.connections):
            connection.close_if_idle()
        harness.settle()
        for client in (idle, silent):
            assert client.closed
            client.eof()
        assert harness.runtime.connections == set()

    @pytest.mark.parametrize("sent", [get(), get()[:10], post(b"12345")[:-1]], ids=["running", "head", "body"])
    def test_a_busy_connection_may_not(self, serve: Serve, sent: bytes) -> None:
        harness = serve(Gate())
        client = harness.connect().send(sent)
        for connection in list(harness.runtime.connections):
            connection.close_if_idle()
        harness.settle()
        assert client.open


def test_abort_cuts_the_connection_at_once(serve: Serve) -> None:
    harness = serve(Gate())
    client = harness.connect().send(get())
    for connection in list(harness.runtime.connections):
        connection.abort()
    harness.settle()
    assert client.closed
    assert client.transport.output == b""
    assert harness.runtime.connections == set()
