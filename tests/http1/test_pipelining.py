"""Requests that are sent before the answers to those before them (RFC 9112, 9.3.2)."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from tests.http1.apps import Gate, Recorder, answer, echo, hello, read_body, stream
from tests.http1.conftest import Connect
from tests.scripted import get, parse_responses, post
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.http1.cycle import RequestCycle


def cycles() -> int:
    """How many requests are held in memory."""
    gc.collect()
    return sum(isinstance(each, RequestCycle) for each in gc.get_objects())


def test_answers_come_in_order(connect: Connect) -> None:
    client = connect(echo).send(get("/1") + post(b"two", target="/2") + get("/3"))
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"POST /2 two", b"GET /3 "]
    assert client.open


@pytest.mark.parametrize("each", [1, 2, 3, 7, 50])
def test_in_reads_of_any_size(connect: Connect, each: int) -> None:
    client = connect(echo).send(get("/1") + post(b"two", target="/2") + get("/3"), each=each)
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"POST /2 two", b"GET /3 "]


def test_one_request_runs_at_a_time(connect: Connect) -> None:
    app = Gate(echo)
    client = connect(app).send(get("/1") + get("/2"), get("/3"))
    seen = []
    while app.waiting:
        assert len(app.waiting) == 1
        seen.append(list(app.paths))
        app.open()
        client.harness.settle()
    assert seen == [["/1"], ["/1", "/2"], ["/1", "/2", "/3"]]
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]


def test_a_slow_answer_is_followed_by_the_next_only(connect: Connect) -> None:
    app = Gate(stream(b"a", b"b"))
    client = connect(app).send(get() + get())
    app.open()
    client.harness.settle()
    assert [response.body for response in client.responses()] == [b"ab"]


def test_a_read_full_of_requests_behind_a_sleeping_one_is_bounded(connect: Connect) -> None:
    tiny = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
    app = Gate()
    client = connect(app)
    count = 65536 // len(tiny)
    before = cycles()
    client.send(tiny * count)
    assert cycles() - before <= 4096 // len(tiny) + 2
    assert not client.transport.reading
    while app.waiting:
        app.open()
        client.harness.settle()
    assert len(client.responses()) == len(app.paths) == count
    assert client.transport.reading
    assert client.open


def test_many_small_reads_behind_a_sleeping_request_are_bounded(connect: Connect) -> None:
    app = Gate()
    client = connect(app)
    before = cycles()
    client.send(*[get(f"/{number}") for number in range(1000)])
    assert cycles() - before <= 200
    assert not client.transport.reading
    while app.waiting:
        app.open()
        client.harness.settle()
    assert len(client.responses()) == 1000


def test_what_is_held_back_may_end_within_a_request(connect: Connect) -> None:
    app = Gate(echo)
    request = post(b"x" * 3000)
    client = connect(app).send(request * 40 + request[:-100])
    while app.waiting:
        app.open()
        client.harness.settle()
    assert len(client.responses()) == 40
    client.send(request[-100:] + get("/last"))
    while app.waiting:
        app.open()
        client.harness.settle()
    bodies = [response.body for response in client.responses()]
    assert bodies == [b"POST / " + b"x" * 3000] * 41 + [b"GET /last "]


def test_bodies_are_not_mixed_up(connect: Connect) -> None:
    app = Gate(echo)
    requests = b"".join(post(b"%d" % number * 500, target=f"/{number}") for number in range(10))
    client = connect(app).send(requests)
    while app.waiting:
        app.open()
        client.harness.settle()
    expected = [b"POST /%d " % number + b"%d" % number * 500 for number in range(10)]
    assert [response.body for response in client.responses()] == expected


def test_a_body_that_is_not_read_is_skipped(connect: Connect) -> None:
    client = connect(hello).send(post(b"GET /smuggled HTTP/1.1\r\n\r\n") + get("/2"))
    assert len(client.responses()) == 2


@pytest.mark.parametrize("app", [echo, hello], ids=["read", "not read"])
@pytest.mark.parametrize("size", [1, 4000, 4096, 5000, 70_000, 200_000])
def test_a_request_right_behind_a_body_of_any_size(connect: Connect, app: ASGIApp, size: int) -> None:
    client = connect(app).send(post(b"x" * size, target="/1") + get("/2") + post(b"y" * size, target="/3"))
    assert [response.status for response in client.responses()] == [200] * 3
    assert len(client.send(get("/4")).responses()) == 4


def test_the_second_may_stream_its_body_while_the_first_runs(connect: Connect) -> None:
    app = Gate(echo)
    first, second = get("/1"), post(b"body", target="/2")
    client = connect(app).send(first + second[:-3], second[-3:-1])
    app.open()
    client.harness.settle()
    app.open()
    client.send(second[-1:])
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"POST /2 body"]


def test_a_response_that_closes_ends_the_line(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [(b"connection", b"close")] if scope["path"] == "/2" else []
        await answer(send, scope["path"].encode(), headers=fields)

    recorder = Recorder(app)
    client = connect(recorder).send(get("/1") + get("/2") + get("/3"))
    assert [response.body for response in client.responses()] == [b"/1", b"/2"]
    assert recorder.paths == ["/1", "/2"]
    assert client.closed


def test_a_failure_does_not_stop_the_line(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/2":
            raise ValueError("a mistake")
        await hello(scope, receive, send)

    client = connect(app).send(get("/1") + get("/2") + get("/3"))
    assert [response.status for response in client.responses()] == [200, 500, 200]


def test_head_answers_do_not_shift_what_follows(connect: Connect) -> None:
    client = connect(hello).send(get(method="HEAD") + get() + get(method="HEAD") + get())
    bodies = [response.body for response in client.responses("HEAD", "GET", "HEAD", "GET")]
    assert bodies == [b"", b"Hello, world!", b"", b"Hello, world!"]


def test_each_request_has_a_task_and_a_scope_of_its_own(connect: Connect) -> None:
    app = Recorder()
    connect(app).send(get("/1", "X-One: 1") + get("/2", "X-Two: 2"))
    first, second = app.scopes
    assert first["headers"] == [(b"host", b"example.org"), (b"x-one", b"1")]
    assert second["headers"] == [(b"host", b"example.org"), (b"x-two", b"2")]


def test_a_deep_line_does_not_nest(connect: Connect) -> None:
    # Applications that are done at once, one after the other, must not call each other.
    count = 2000
    client = connect(hello).send(get() * count)
    assert len(client.responses()) == count


def test_a_client_that_leaves_takes_the_line_with_it(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()

    recorder = Recorder(app)
    client = connect(recorder).send(get("/1") + get("/2"))
    client.leave()
    assert recorder.paths == ["/1"]
    assert recorder.received[-1]["type"] == "http.disconnect"
    assert parse_responses(client.transport.output) == []


def test_nothing_is_looked_at_behind_the_last_request(connect: Connect, log: Callable[..., list[str]]) -> None:
    """RFC 9112, 9.6: nor is it a refused request for the log and for the counts, however long it is."""
    app = Gate(hello)
    last = get("/", "Connection: close", "X-Long: " + "y" * 600)
    client = connect(app).send(last + b"x" * 70_000, b"y" * 10_000)
    app.open()
    client.harness.settle()
    assert client.response().body == b"Hello, world!"
    assert sum(client.harness.runtime.tally.refusals.values()) == 0
    assert log() == []


@pytest.mark.parametrize("expectation", [[], ["Expect: 100-continue"]])
def test_an_unread_body_does_not_hold_up_that_of_the_next_request(connect: Connect, expectation: list[str]) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (gate if scope["path"] == "/unread" else echo)(scope, receive, send)

    second = post(b"0123456789", *expectation, target="/read")
    client = connect(app).send(post(bytes(70_000), target="/unread") + second[:-10])
    assert not client.transport.reading
    gate.open()
    client.harness.settle()
    client.send(second[-10:])
    assert [each.body for each in client.responses() if each.status == 200][1:] == [b"POST /read 0123456789"]
