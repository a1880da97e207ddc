"""limit_request_body: 413, in time for the client to see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.http1.apps import Gate, Recorder, body, echo, hello, start
from tests.http1.conftest import Connect
from tests.scripted import get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

Log = Callable[..., list[str]]
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


class TestDeclared:
    @pytest.mark.parametrize("each", [None, 1])
    @pytest.mark.parametrize(("size", "status"), [(0, 200), (10, 200), (11, 413), (10**12, 413)])
    def test_it_is_refused_before_the_application_runs(
        self, connect: Connect, size: int, status: int, each: int | None
    ) -> None:
        recorder = Recorder(echo)
        client = connect(recorder, limit_request_body=10)
        client.send(get("/", f"Content-Length: {size}", method="POST") + bytes(min(size, 10)), each=each)
        response = client.response()
        assert response.status == status
        assert response.closes is (status == 413)
        assert len(recorder.scopes) == (status == 200)

    def test_no_100_is_sent_before(self, connect: Connect) -> None:
        client = connect(echo, limit_request_body=10).send(
            get("/", "Content-Length: 11", "Expect: 100-continue", method="POST")
        )
        assert client.response().status == 413

    def test_zero_allows_no_body(self, connect: Connect) -> None:
        client = connect(hello, limit_request_body=0).send(get(), post(b""), post(b"1"))
        assert [response.status for response in client.responses()] == [200, 200, 413]

    def test_without_a_limit(self, connect: Connect) -> None:
        assert connect(echo).send(post(bytes(1_000_000))).response().status == 200

    def test_requests_before_it_are_answered(self, connect: Connect) -> None:
        gate = Gate()
        client = connect(gate, limit_request_body=10).send(get() + post(bytes(11)))
        gate.open()
        client.harness.settle()
        assert [response.status for response in client.responses()] == [200, 413]

    def test_the_log_says_why(self, connect: Connect, log: Log) -> None:
        connect(echo, limit_request_body=10).send(post(bytes(11)))
        (line,) = log()
        assert line.startswith("Invalid request from 192.0.2.7:50123: the request body is longer than 10 bytes (docs/")

    def test_the_client_may_go_on_sending(self, connect: Connect) -> None:
        """It sees the answer when it is done; a reset would take the answer away from it."""
        client = connect(echo, limit_request_body=10).send(get("/", "Content-Length: 8000000", method="POST"))
        for _ in range(8):
            client.send(bytes(1_000_000)).harness.tick(2)
        assert not client.transport.lost
        client.eof()
        assert client.transport.lost
        assert client.response().status == 413

    def test_but_not_without_end(self, connect: Connect) -> None:
        client = connect(echo, limit_request_body=10).send(get("/", "Content-Length: 8000000000", method="POST"))
        for _ in range(60):
            client.send(bytes(1000)).harness.tick(1)
        assert client.transport.lost


class TestChunked:
    @pytest.mark.parametrize("each", [None, 1])
    def test_it_is_refused_when_it_grows_too_long(self, connect: Connect, each: int | None) -> None:
        recorder = Recorder(echo)
        client = connect(recorder, limit_request_body=10)
        client.send(CHUNKED + b"5\r\nhello\r\n" + b"6\r\n world\r\n0\r\n\r\n", each=each)
        assert client.response().status == 413
        assert client.response().closes
        # Where all of it came in one read, the application was not begun.
        assert recorder.received[-1:] == ([] if each is None else [{"type": "http.disconnect"}])

    def test_up_to_the_limit(self, connect: Connect) -> None:
        client = connect(echo, limit_request_body=10)
        for _ in range(2):
            client.send(CHUNKED, b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n")
        assert [response.body for response in client.responses()] == [b"POST / helloworld"] * 2

    def test_a_response_that_has_begun_is_cut(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun", more=True))
            await echo(scope, receive, send)

        recorder = Recorder(app)
        client = connect(recorder, limit_request_body=3).send(CHUNKED, b"5\r\nhello\r\n")
        (response,) = parse_responses(client.transport.output, ended=True)
        assert not response.complete
        assert client.closed
        assert recorder.received == [{"type": "http.disconnect"}]

    def test_what_the_application_goes_on_to_send_is_dropped(self, connect: Connect) -> None:
        gate = Gate(hello)
        recorder = Recorder(gate)
        client = connect(recorder, limit_request_body=3).send(CHUNKED, b"5\r\nhello\r\n")
        gate.open()
        client.harness.settle()
        assert client.response().status == 413
        assert isinstance(recorder.raised[0], OSError)

    def test_in_a_pipeline(self, connect: Connect) -> None:
        gate = Gate()
        client = connect(gate, limit_request_body=3).send(get() + CHUNKED + b"5\r\nhello\r\n")
        gate.open()
        client.harness.settle()
        assert [response.status for response in client.responses()] == [200, 413]
        assert gate.paths == ["/"]
