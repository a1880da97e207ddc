"""pre_request and post_request, with requests from real connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gunicorn.glogging import Logger

from tests.failures import FAILURES, handled_interrupts
from tests.http1.apps import body, hello, respond, start
from tests.scripted import Harness, get, parse_responses, post
from tests.worker.cycles import records_of, settings
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.errors import ClientDisconnected, ProcessExit
from uvicorn_worker.worker.hooks import with_hooks

__all__ = ["handled_interrupts"]


class Worker:
    """What the hooks get for a worker, and what they did."""

    def __init__(self, **values: Any) -> None:
        self.cfg = settings(**values)
        self.log = SimpleNamespace(
            debug=lambda *args: self.logged.append(args), exception=lambda *args: self.logged.append(args)
        )
        self.logged: list[Any] = []


class Seen(list[Any]):
    """Hooks that keep what they are called with."""

    def before(self, worker: Any, req: Any) -> None:
        self.append(("pre", req))

    def after(self, worker: Any, req: Any, environ: Any, resp: Any) -> None:
        self.append(("post", req, environ, resp))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self]


def fails(worker: Any, req: Any) -> None:
    raise RuntimeError("the hook went wrong")


def fails_after(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    raise RuntimeError("the hook went wrong")


def serve(app: ASGIApp, worker: Worker, *requests: bytes, **options: Any) -> bytes:
    """What is written when the requests are served under the worker's hooks."""
    harness = Harness(with_hooks(app, worker), **options)
    client = harness.connect().send(*(requests or (get(),)))
    harness.close()
    return client.transport.output


def outcome_of(app: ASGIApp, request: bytes = b"", **options: Any) -> Any:
    """The response that post_request sees."""
    seen = Seen()
    serve(app, Worker(post_request=seen.after), request or get(), **options)
    ((_, _, _, resp),) = seen
    return resp


class TestUnset:
    def test_the_application_is_called_directly(self) -> None:
        with records_of("gunicorn.error", "gunicorn.access"):
            worker = Worker()
            worker.log = Logger(settings(errorlog="/dev/null"))
            assert with_hooks(hello, worker) is hello

    def test_gunicorns_own_hook_logs_at_debug(self) -> None:
        with records_of("gunicorn.error", "gunicorn.access") as records:
            worker: Any = Worker()
            worker.log = Logger(settings(errorlog="/dev/null", loglevel="debug"))
            serve(hello, worker, get("/x"))
        assert records.lines == ["GET /x"]

    def test_a_logger_of_the_operators_is_asked_in_any_case(self) -> None:
        worker = Worker()
        serve(hello, worker)
        assert worker.logged == [("%s %s", "GET", "/")]

    def test_the_lifespan_is_no_request(self) -> None:
        called: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            called.append((scope, receive, send))

        seen = Seen()
        given: Any = ({"type": "lifespan"}, object(), object())
        hooked: Any = with_hooks(app, Worker(pre_request=seen.before, post_request=seen.after))
        asyncio.run(hooked(*given))
        assert called == [given]
        assert seen == []


class TestPreRequest:
    def test_it_sees_the_request_before_the_application(self) -> None:
        seen = Seen()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(("app", scope))
            await hello(scope, receive, send)

        serve(app, Worker(pre_request=seen.before), get("/a%20b?c=d", "X-Y: z"), root_path="/r")
        assert seen.names == ["pre", "app"]
        req = seen[0][1]
        assert (req.method, req.uri, req.path, req.query) == ("GET", "/a%20b?c=d", "/a b", "c=d")
        assert ("X-Y", "z") in req.headers

    def test_a_header_that_it_adds_reaches_the_application(self) -> None:
        def tag(worker: Any, req: Any) -> None:
            req.headers.append(("X-REQUEST-ID", "1234"))

        headers: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            headers.append(scope["headers"])
            await hello(scope, receive, send)

        serve(app, Worker(pre_request=tag), get("/", "Cookie: a"), get("/", "Cookie: a"))
        for each in headers:
            assert each[-1] == (b"x-request-id", b"1234")
            assert [name for name, _ in each].count(b"x-request-id") == 1
            assert (b"cookie", b"a") in each

    def test_headers_that_are_only_read_stay_the_same_list(self) -> None:
        scopes: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope["headers"])

        def read(worker: Any, req: Any) -> None:
            assert req.headers == []

        headers: list[Any] = []
        scope = {
            "type": "http", "scheme": "http", "client": None, "headers": headers, "raw_path": b"/", "root_path": "",
            "query_string": b"",
        }  # fmt: skip
        asyncio.run(with_hooks(app, Worker(pre_request=read))(scope, None, None))  # type: ignore[arg-type]
        assert scopes[0] is headers

    @pytest.mark.parametrize("hook", [fails, lambda worker, req: req.headers.append(("X", 5))])
    def test_an_error_in_it_is_answered_500(self, hook: Any) -> None:
        called: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            called.append(scope)

        worker = Worker(pre_request=hook)
        (response, again) = parse_responses(serve(app, worker, get("/x"), get("/x")))
        assert (response.status, response.body) == (500, b"Internal Server Error")
        assert again.status == 500
        assert called == []
        assert worker.logged == [("Exception in pre_request hook: %s %s", "GET", "/x")] * 2

    def test_a_websocket_is_denied_by_an_error(self) -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "websocket", "scheme": "ws", "client": None, "headers": [], "raw_path": b"/", "root_path": "",
            "query_string": b"", "http_version": "1.1", "server": None,
        }  # fmt: skip
        seen = Seen()
        hooked = with_hooks(hello, Worker(pre_request=fails, post_request=seen.after))
        asyncio.run(hooked(scope, None, send))  # type: ignore[arg-type]
        prefix = "websocket.http.response"
        assert [message["type"] for message in sent] == [f"{prefix}.start", f"{prefix}.body"]
        assert sent[0]["status"] == seen[0][3].status_code == 500
        assert seen[0][2]["REQUEST_METHOD"] == "GET"


class TestPostRequest:
    def test_it_sees_all_of_it_after_the_application(self) -> None:
        seen = Seen()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["path"] = scope["root_path"] = "/changed"
            await respond(start(201, [(b"X-Out", b"1")]), body(b"12", more=True), body(b"345"))(scope, receive, send)
            seen.append(("app",))

        worker = Worker(pre_request=seen.before, post_request=seen.after)
        serve(app, worker, post(b"1", "X-Y: z"), root_path="/r")
        assert seen.names == ["pre", "app", "post"]
        _, req, environ, resp = seen[2]
        assert req is seen[0][1]
        assert (environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["HTTP_X_Y"]) == ("POST", "/r", "z")
        assert (resp.status, resp.status_code, resp.sent) == ("201 Created", 201, 5)
        assert resp.headers == [("X-Out", "1")]

    @pytest.mark.parametrize(
        "hook",
        [
            lambda worker, req: worker.logged.append(req.method),
            lambda worker, req, environ: worker.logged.append(environ["REQUEST_METHOD"]),
            lambda worker, req, environ, resp: worker.logged.append(environ["REQUEST_METHOD"]),
        ],
    )
    def test_it_may_take_two_three_or_four_arguments(self, hook: Any) -> None:
        worker = Worker(post_request=hook)
        serve(hello, worker)
        assert [line for line in worker.logged if isinstance(line, str)] == ["GET"]

    def test_it_is_called_after_an_error_in_pre_request(self) -> None:
        seen = Seen()
        serve(hello, Worker(pre_request=fails, post_request=seen.after))
        assert seen.names == ["post"]
        assert seen[0][3].status == "500 Internal Server Error"
        assert seen[0][2]["REQUEST_METHOD"] == "GET"

    def test_an_error_in_it_is_logged(self) -> None:
        worker = Worker(post_request=fails_after)
        assert serve(hello, worker).startswith(b"HTTP/1.1 200")
        assert ("Exception in post_request hook",) in worker.logged

    def test_headers_may_be_an_iterator(self) -> None:
        app = respond({"type": "http.response.start", "status": 200, "headers": iter([(b"a", b"b")])}, body(b""))
        seen = Seen()
        written = serve(app, Worker(post_request=seen.after))
        assert b"a: b\r\n" in written
        assert seen[0][3].headers == [("a", "b")]

    def test_a_body_may_be_none(self) -> None:
        nothing = {"type": "http.response.body", "body": None, "more_body": True}
        seen = Seen()
        written = serve(respond(start(), nothing, body(b"12")), Worker(post_request=seen.after))
        assert written.endswith(b"\r\n2\r\n12\r\n0\r\n\r\n")
        assert seen[0][3].sent == 2


class TestOutcomes:
    @pytest.mark.parametrize(("status", "method", "sent"), [(200, "HEAD", 0), (304, "GET", 0), (204, "GET", 0)])
    def test_a_body_that_is_not_sent_does_not_count(self, status: int, method: str, sent: int) -> None:
        assert outcome_of(respond(start(status), body(b"12345")), get(method=method)).sent == sent

    def test_an_application_that_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("went wrong")

        with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
            assert outcome_of(app).status_code == 500

    def test_one_that_raises_in_the_middle(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(start(), body(b"12", more=True))(scope, receive, send)
            raise RuntimeError("went wrong")

        with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
            resp = outcome_of(app)
        assert (resp.status_code, resp.sent) == (200, 2)

    def test_a_client_that_left(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ClientDisconnected("left")

        seen = Seen()
        harness = Harness(with_hooks(app, Worker(post_request=seen.after)))
        harness.connect().send(get()).leave()
        harness.close()
        assert seen[0][3].status is None

    @pytest.mark.parametrize(
        ("messages", "status"),
        [
            ([{"type": "websocket.accept", "headers": [(b"a", b"b")]}, {"type": "websocket.close"}], 101),
            ([{"type": "websocket.close"}], 403),
            ([{"type": "websocket.http.response.start", "status": 401}], 401),
        ],
    )
    def test_websockets(self, messages: list[Any], status: int) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for message in messages:
                await send(message)

        async def send(message: Any) -> None:
            pass

        scope: Scope = {
            "type": "websocket", "scheme": "ws", "client": None, "headers": [], "raw_path": b"/", "root_path": "",
            "query_string": b"", "http_version": "1.1", "server": None,
        }  # fmt: skip
        seen = Seen()
        asyncio.run(with_hooks(app, Worker(post_request=seen.after))(scope, None, send))  # type: ignore[arg-type]
        assert seen[0][3].status_code == status


@pytest.mark.usefixtures("handled_interrupts")
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
class TestAnyException:
    def test_out_of_a_hook(self, failure: Callable[[], BaseException]) -> None:
        def before(worker: Any, req: Any) -> None:
            raise failure()

        def after(worker: Any, req: Any, environ: Any, resp: Any) -> None:
            raise failure()

        assert serve(hello, Worker(pre_request=before)).startswith(b"HTTP/1.1 500 ")
        assert serve(hello, Worker(post_request=after)).startswith(b"HTTP/1.1 200 ")

    def test_out_of_the_application(self, failure: Callable[[], BaseException]) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise failure()

        resp = outcome_of(app)
        if not isinstance(failure(), asyncio.CancelledError):
            assert resp.status == "500 Internal Server Error"


def test_the_end_of_the_process_is_no_failure_of_a_hook() -> None:
    """A signal handler of ours leaves it in the middle."""

    def before(worker: Any, req: Any) -> None:
        raise ProcessExit(1)

    def after(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        raise ProcessExit(1)

    scopes: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def nothing(*args: Any) -> Any:
        """Nobody reads what is sent."""

    serve(app, Worker())
    for worker in (Worker(pre_request=before), Worker(post_request=after)):
        with pytest.raises(ProcessExit):
            asyncio.run(cast("Any", with_hooks(hello, worker))(scopes[0], nothing, nothing))
        assert not any("Exception in" in str(line) for line in worker.logged)
