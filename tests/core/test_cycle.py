"""A request in the application, whatever carries it: here a protocol that only notes what it is told."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.records import Records, records_of
from uvicorn_worker.core.asgi import TOLD_AT_ONCE, ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.cycle import AWAIT_START, BEGUN, BODY, DONE, HEAD_HELD, WAITING, Cycle, as_bytes, wrong_length
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected, ProcessExit
from uvicorn_worker.core.runtime import Runtime

RETRY = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]
TEXT = RETRY[:1]


class Plain(Cycle):
    """What is sent is kept as it is; each message is a stage."""

    __slots__ = ("answers", "asked", "conn", "cuts", "sent", "taken")

    def __init__(self, runtime: Runtime, path: str = "/path") -> None:
        self.runtime = runtime
        self.scope = {"type": "http", "method": "GET", "path": path, "client": ("192.0.2.7", 50123)}
        self.progress, self.stage, self.status, self.started = WAITING, AWAIT_START, 0, 0.0
        self.body_sent, self.response_headers, self.task, self.name = 0, [], None, None
        self.gone = self.lost = self.complete = self.delivered = self.expect_continue = False
        self.left = 0.0
        self.chunks: list[bytes] = []
        self.waiters = None
        self.answers: list[tuple[int, bytes, list[tuple[bytes, bytes]]]] = []
        self.sent: list[str] = []
        self.taken: list[int] = []
        self.cuts = self.asked = 0
        self.conn: Any = SimpleNamespace(body_taken=lambda cycle, size: self.taken.append(size))

    async def send(self, message: Event) -> None:
        self.sent.append(message["type"])
        self.stage = HEAD_HELD if message["type"] == "http.response.start" else BODY
        if self.stage == BODY and not message.get("more_body"):
            self.stage = DONE
            self.finish()

    def answer(self, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.answers.append((status, text, list(headers)))
        self.stage = DONE
        self.finish()

    def cut(self) -> None:
        self.cuts += 1
        self.lost = True

    def ask_for_body(self) -> None:
        self.asked += 1

    async def wait_for_body(self) -> None:
        await self.wait()

    def body(self, data: bytes, *, more: bool = False) -> None:
        """Some of the body comes."""
        if data:
            self.chunks.append(data)
        self.complete = not more
        self.wake()


@pytest.fixture
def log() -> Iterator[Records]:
    with records_of("uvicorn.error") as records:
        logging.getLogger("uvicorn.error").setLevel(logging.DEBUG)
        yield records


Make = Callable[..., Plain]


@pytest.fixture
def begin(loop: asyncio.AbstractEventLoop) -> Iterator[Make]:
    """Admit a request to an application: `begin(app, runtime=..., **options)`."""

    def start(app: ASGIApp, *, runtime: Runtime | None = None, path: str = "/path", **options: Any) -> Plain:
        cycle = Plain(runtime or make_runtime(loop, app, **options), path)
        loop.call_soon(cycle.admit)
        turn(loop)
        return cycle

    yield start
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turn(loop, 5)


def make_runtime(loop: asyncio.AbstractEventLoop, app: ASGIApp, *, access: Any = None, **options: Any) -> Runtime:
    limit, reached = options.pop("limit_requests", None), options.pop("on_limit", None)
    return Runtime(Config(app=app, **options), app, loop, access=access, limit_requests=limit, on_limit=reached)


def turn(loop: asyncio.AbstractEventLoop, times: int = 3) -> None:
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


async def hold(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


class Events:
    """An application that keeps what it receives, up to the disconnect."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.seen or self.seen[-1]["type"] != "http.disconnect":
            self.seen.append(await receive())


class TestAdmit:
    def test_the_application_runs(self, begin: Make) -> None:
        cycle = begin(answer)
        assert cycle.sent == ["http.response.start", "http.response.body"]
        assert cycle.runtime.requests == 1
        assert cycle.runtime.cycles == set()
        assert cycle.task is None

    def test_its_task_has_a_name(self, begin: Make) -> None:
        cycle = begin(hold, path="/" + "x" * 100)
        assert cycle.runtime.cycles == {cycle}
        assert cycle.task is not None
        assert cycle.task.get_name() == "GET /" + "x" * 59

    def test_no_more_than_there_may_be(self, begin: Make) -> None:
        first = begin(hold, limit_concurrency=1)
        second = begin(hold, runtime=first.runtime)
        assert second.answers == [(503, b"Service Unavailable", RETRY)]
        assert second.task is None
        assert first.runtime.cycles == {first}

    @pytest.mark.parametrize("raised", [ProcessExit(3), KeyboardInterrupt()])
    def test_what_ends_the_process(self, loop: asyncio.AbstractEventLoop, raised: BaseException) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise raised

        cycle = Plain(make_runtime(loop, app))
        loop.call_soon(cycle.admit)
        with pytest.raises(type(raised)):
            turn(loop)

    @pytest.mark.parametrize("raised", [ProcessExit(3), KeyboardInterrupt()])
    def test_the_same_where_tasks_start_at_once(self, loop: asyncio.AbstractEventLoop, raised: BaseException) -> None:
        def make_task(coroutine: Any, name: str, context: Any) -> Any:
            coroutine.close()
            raise raised

        cycle = Plain(make_runtime(loop, hold))
        cycle.runtime.make_task = make_task
        # Whoever called data_received() sees nothing of it: the loop ends by it, in its next turn.
        cycle.admit()
        with pytest.raises(type(raised)):
            turn(loop)

    def test_the_time_is_taken(self, begin: Make) -> None:
        assert begin(answer).started > 0.0


tells_who_was_cancelled = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="this Python does not say whether a task was cancelled"
)


class TestEnds:
    def test_an_error_is_a_500(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("no")

        cycle = begin(app)
        assert cycle.answers == [(500, b"Internal Server Error", TEXT)]
        assert log.lines == ["Exception in ASGI application: GET /path"]

    def test_after_the_body_has_begun_the_client_is_cut(self, begin: Make) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            raise ValueError("no")

        cycle = begin(app)
        assert (cycle.answers, cycle.cuts) == ([], 1)

    def test_after_the_response_nothing_is_to_be_said(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(scope, receive, send)
            raise ValueError("no")

        cycle = begin(app)
        assert (cycle.answers, cycle.cuts) == ([], 0)
        assert log.lines == ["Exception in ASGI application: GET /path"]

    def test_the_error_of_a_lost_client_is_none(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            raise ClientDisconnected("gone")

        cycle = begin(app)
        cycle.connection_lost()
        turn(cycle.runtime.loop)
        assert cycle.answers == []
        assert log.lines == ["GET /path: the client left before the response was complete"]

    def test_another_one_still_is(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            raise ValueError("no")

        cycle = begin(app)
        cycle.connection_lost()
        turn(cycle.runtime.loop)
        assert log.lines == ["Exception in ASGI application: GET /path"]

    def test_an_application_that_answers_nothing(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            """Returns."""

        assert begin(app).answers == [(500, b"Internal Server Error", TEXT)]
        assert log.lines == ["ASGI application returned without completing the response: GET /path"]

    def test_one_that_answers_nobody(self, begin: Make, log: Records) -> None:
        cycle = begin(Events())
        cycle.disconnect()
        turn(cycle.runtime.loop)
        assert (cycle.answers, cycle.cuts) == ([], 1)
        assert log.lines == []

    @pytest.mark.parametrize("by_the_server", [True, pytest.param(False, marks=tells_who_was_cancelled)])
    def test_one_that_is_cancelled(self, begin: Make, by_the_server: bool) -> None:
        cycle = begin(hold)
        task = cycle.task
        assert task is not None
        (cycle if by_the_server else task).cancel()
        turn(cycle.runtime.loop)
        assert cycle.answers == [(503, b"Service Unavailable", RETRY)]
        assert task.cancelled()
        assert cycle.runtime.cycles == set()

    def test_one_that_is_cancelled_before_its_first_step(self, loop: asyncio.AbstractEventLoop) -> None:
        # A loop that was blocked for long may tick before that; it is not to count as running for ever.
        loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options))
        cycle = Plain(make_runtime(loop, hold, timeout_request=10))
        cycle.admit()
        cycle.check_time(cycle.started + 10)
        turn(loop)
        assert cycle.answers == [(504, b"Gateway Timeout", TEXT)]
        assert (cycle.runtime.cycles, cycle.task) == (set(), None)

    def test_a_task_of_another_kind_is_cancelled(self, loop: asyncio.AbstractEventLoop) -> None:
        cycle = Plain(make_runtime(loop, hold))
        cycle.task = loop.create_future()  # type: ignore[assignment]
        cycle.cancel()
        assert cycle.task is not None
        assert cycle.task.cancelled()

    def test_a_websocket_has_an_end_of_its_own(self, begin: Make) -> None:
        cycle = begin(hold)
        cycle.returned()
        assert cycle.runtime.cycles == set()
        assert cycle.task is None

    @pytest.mark.parametrize(
        "raised",
        [SystemExit(3), pytest.param(asyncio.CancelledError(), marks=tells_who_was_cancelled), GeneratorExit()],
    )
    def test_what_an_application_lets_out_is_its_own(self, begin: Make, log: Records, raised: BaseException) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise raised

        assert begin(app).answers == [(500, b"Internal Server Error", TEXT)]
        assert log.lines == ["Exception in ASGI application: GET /path"]


class TestFinish:
    def test_the_limit_is_told(self, begin: Make) -> None:
        reached: list[int] = []
        first = begin(answer, limit_requests=2, on_limit=lambda: reached.append(1))
        assert reached == []
        begin(answer, runtime=first.runtime)
        begin(answer, runtime=first.runtime)
        assert len(reached) == 2

    def test_without_a_server_nobody_is_told(self, begin: Make) -> None:
        assert begin(answer, limit_requests=1).runtime.requests == 1

    def test_the_access_line(self, begin: Make) -> None:
        lines: list[Any] = []
        cycle = begin(answer, access=lines.append)
        assert lines == [cycle]

    def test_one_that_can_not_be_written(self, begin: Make, log: Records) -> None:
        def access(cycle: Any) -> None:
            raise OSError("disk full")

        assert begin(answer, access=access).sent == ["http.response.start", "http.response.body"]
        assert log.lines == ["The access line could not be logged"]

    def test_those_who_wait_are_woken(self, begin: Make) -> None:
        app = Events()

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            listener = asyncio.ensure_future(app(scope, receive, send))
            await asyncio.sleep(0)
            await answer(scope, receive, send)
            await listener

        turn(begin(both).runtime.loop)
        assert app.seen == [{"type": "http.disconnect"}]


class TestReceive:
    def test_the_body_in_pieces(self, begin: Make) -> None:
        app = Events()
        cycle = begin(app)
        for data, more in ((b"one", True), (b"two", False)):
            cycle.body(data, more=more)
            turn(cycle.runtime.loop)
        cycle.disconnect()
        turn(cycle.runtime.loop)
        assert app.seen == [
            {"type": "http.request", "body": b"one", "more_body": True},
            {"type": "http.request", "body": b"two", "more_body": False},
            {"type": "http.disconnect"},
        ]
        assert cycle.taken == [3, 3]

    def test_pieces_that_came_together_are_one(self, begin: Make) -> None:
        app = Events()
        cycle = begin(app)
        cycle.chunks += [b"one", b"two"]
        cycle.body(b"")
        turn(cycle.runtime.loop)
        assert app.seen == [{"type": "http.request", "body": b"onetwo", "more_body": False}]

    def test_no_body(self, begin: Make) -> None:
        app = Events()
        cycle = begin(app)
        cycle.body(b"")
        turn(cycle.runtime.loop)
        assert app.seen == [{"type": "http.request", "body": b"", "more_body": False}]
        assert cycle.taken == []

    @pytest.mark.parametrize(("stage", "asked"), [(AWAIT_START, 1), (BODY, 0)])
    def test_the_client_is_asked_for_it_once(
        self, loop: asyncio.AbstractEventLoop, begin: Make, stage: int, asked: int
    ) -> None:
        app = Events()
        cycle = Plain(make_runtime(loop, app))
        cycle.expect_continue, cycle.stage = True, stage
        cycle.admit()
        turn(loop)
        cycle.body(b"a", more=True)
        turn(loop)
        assert cycle.asked == asked

    def test_a_client_that_leaves_within_it(self, begin: Make) -> None:
        app = Events()
        cycle = begin(app)
        cycle.disconnect()
        left = cycle.left
        cycle.disconnect()
        turn(cycle.runtime.loop)
        assert app.seen == [{"type": "http.disconnect"}]
        assert cycle.left == left

    def test_everyone_who_waits_is_told(self, begin: Make) -> None:
        seen: list[Event] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.extend(await asyncio.gather(receive(), receive(), receive()))

        cycle = begin(app)
        cycle.connection_lost()
        turn(cycle.runtime.loop, 5)
        assert seen == [{"type": "http.disconnect"}] * 3

    def test_one_who_does_not_wait_any_longer(self, begin: Make) -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            waiting = [asyncio.ensure_future(receive()) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            seen.append((await waiting[1])["type"])

        cycle = begin(app)
        turn(cycle.runtime.loop)
        assert cycle.waiters is not None
        assert len(cycle.waiters) == 1
        cycle.disconnect()
        turn(cycle.runtime.loop)
        assert seen == ["http.disconnect"]

    @pytest.mark.parametrize("by_the_server", [True, pytest.param(False, marks=tells_who_was_cancelled)])
    def test_one_who_is_cancelled_in_the_moment_he_is_woken(self, begin: Make, by_the_server: bool) -> None:
        cycle = begin(Events())
        assert cycle.task is not None
        (cycle if by_the_server else cycle.task).cancel()
        cycle.wake()
        turn(cycle.runtime.loop)
        assert cycle.answers == [(503, b"Service Unavailable", RETRY)]

    def test_a_connection_that_ends_within_a_response_is_logged(self, begin: Make) -> None:
        lines: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            await hold(scope, receive, send)

        cycle = begin(app, access=lines.append)
        cycle.connection_lost()
        assert lines == [cycle]

    def test_one_that_asks_on_gives_others_a_turn(self, begin: Make, loop: asyncio.AbstractEventLoop) -> None:
        turned: list[int] = []
        asked = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal asked
            loop.call_soon(turned.append, 1)
            while not turned and asked < 10 * TOLD_AT_ONCE:
                assert await receive() == {"type": "http.disconnect"}
                asked += 1

        cycle = Plain(make_runtime(loop, app))
        cycle.disconnect()
        loop.call_soon(cycle.admit)
        turn(loop)
        # The first of them without one: it is asked whether the client is there by who does not wait.
        assert asked == TOLD_AT_ONCE


class TestTime:
    def test_too_long_in_the_application(self, begin: Make, log: Records) -> None:
        cycle = begin(hold, timeout_request=10)
        cycle.check_time(cycle.started + 9)
        assert cycle.answers == []
        cycle.check_time(cycle.started + 10)
        turn(cycle.runtime.loop)
        assert cycle.answers == [(504, b"Gateway Timeout", TEXT)]
        assert cycle.lost
        (line,) = log.lines
        assert line.startswith("Cancelled after 10.0 s in the application, since it took longer than timeout_request: ")
        assert line.endswith(": GET /path from 192.0.2.7:50123")
        # It is cancelled once.
        cycle.check_time(cycle.started + 20)
        assert len(log.lines) == 1

    def test_after_the_response_there_is_no_limit(self, begin: Make, log: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(scope, receive, send)
            await hold(scope, receive, send)

        cycle = begin(app, timeout_request=10, timeout_disconnect=1)
        cycle.check_time(cycle.started + 100)
        assert log.lines == []

    def test_too_long_after_the_client_has_left(self, begin: Make, log: Records) -> None:
        cycle = begin(hold, timeout_disconnect=5)
        cycle.disconnect()
        cycle.check_time(cycle.left + 4)
        assert log.lines == []
        cycle.check_time(cycle.left + 5)
        (line,) = log.lines
        assert "since it went on after its client had left: GET /path" in line

    def test_one_that_has_no_task_yet(self, loop: asyncio.AbstractEventLoop, log: Records) -> None:
        # Where tasks start at once, the application may run before its task is known.
        cycle = Plain(make_runtime(loop, hold, timeout_request=1))
        cycle.progress = BEGUN
        cycle.check_time(2.0)
        assert cycle.answers == [(504, b"Gateway Timeout", TEXT)]


class TestHooks:
    def test_a_protocol_has_to_have_them(self, loop: asyncio.AbstractEventLoop) -> None:
        cycle = Cycle()
        with pytest.raises(NotImplementedError):
            loop.run_until_complete(cycle.send({}))
        with pytest.raises(NotImplementedError):
            loop.run_until_complete(cycle.wait_for_body())
        with pytest.raises(NotImplementedError):
            cycle.answer(200, b"", [])
        for hook in (cycle.cut, cycle.ask_for_body):
            with pytest.raises(NotImplementedError):
                hook()


class TestBodies:
    def test_what_may_change_is_copied(self) -> None:
        body = bytearray(b"abc")
        for kind in (body, memoryview(body), type("Binary", (bytes,), {})(body)):
            copy = as_bytes(kind)
            assert type(copy) is bytes
            assert copy == b"abc"

    def test_what_is_none(self) -> None:
        with pytest.raises(ApplicationError, match="must be bytes, not str"):
            as_bytes("abc")

    def test_lengths(self) -> None:
        assert "longer (3 bytes) than its content-length (2)" in str(wrong_length(2, 3))
        assert "shorter (1 bytes) than its content-length (2)" in str(wrong_length(2, 1))


class TestLateEnds:
    """Ends of a request that is in its application."""

    def test_small_pieces_of_a_body_are_joined(self, begin: Make) -> None:
        cycle = begin(hold)
        for _ in range(1000):
            cycle.keep_chunk(b"ab")
        assert len(cycle.chunks) < 100
        assert b"".join(cycle.chunks) == b"ab" * 1000
        large = bytes(100_000)
        cycle.keep_chunk(large)
        assert cycle.chunks[-1] is large

    def test_the_server_does_not_wait_any_longer(self, begin: Make) -> None:
        cycle = begin(hold)
        cycle.abandon()
        assert cycle.answers == [(503, b"Service Unavailable", RETRY)]

    def test_one_that_has_begun_is_cut(self, begin: Make) -> None:
        cycle = begin(hold)
        cycle.stage = BODY
        cycle.abandon()
        assert (cycle.answers, cycle.cuts) == ([], 1)
        cycle.abandon()
        assert cycle.cuts == 1

    def test_the_rest_of_a_sized_response_passes_when_its_client_has_left(self, begin: Make) -> None:
        cycle = begin(hold)
        body = {"type": "http.response.body", "body": b"12345", "more_body": True}
        assert cycle.drop_rest(body, 10) == 5
        assert cycle.stage != DONE
        assert cycle.drop_rest({"type": "http.response.body", "body": b"12345"}, 5) == 0
        assert cycle.stage == DONE
        with pytest.raises(ClientDisconnected):
            cycle.drop_rest(body, 4)
        with pytest.raises(ClientDisconnected):
            cycle.drop_rest({"type": "http.response.start"}, 10)

    def test_an_application_that_takes_too_long(self, begin: Make, log: Records) -> None:
        cycle = begin(hold, timeout_request=5)
        cycle.check_time(cycle.started + 4)
        assert cycle.answers == []
        cycle.check_time(cycle.started + 5)
        assert cycle.answers == [(504, b"Gateway Timeout", TEXT)]
        assert cycle.lost
        (line,) = [line for line in log.lines if "Cancelled" in line]
        assert "since it took longer than timeout_request: GET /path from 192.0.2.7:50123" in line
        cycle.check_time(cycle.started + 6)
        assert len(cycle.answers) == 1

    def test_one_whose_client_has_left(self, begin: Make, log: Records) -> None:
        cycle = begin(hold, timeout_disconnect=3)
        cycle.check_time(cycle.started + 100)
        cycle.gone, cycle.left = True, 10.0
        cycle.check_time(12.0)
        assert not [line for line in log.lines if "Cancelled" in line]
        cycle.check_time(13.0)
        (line,) = [line for line in log.lines if "Cancelled" in line]
        assert "since it went on after its client had left" in line

    def test_a_message_in_its_wrong_place(self, begin: Make) -> None:
        cycle = begin(hold)
        assert isinstance(cycle.out_of_order("a", "b"), ApplicationError)
        cycle.gone = True
        assert isinstance(cycle.out_of_order("a", "b"), ClientDisconnected)

    def test_a_hook_for_the_drain(self, begin: Make) -> None:
        cycle = begin(hold)
        cycle.drain()
        assert (cycle.answers, cycle.cuts) == ([], 0)

    def test_a_long_poll_only_waits(self, begin: Make) -> None:
        cycle = begin(hold)
        assert not cycle.only_waits
        cycle.delivered = True
        cycle.waiters = []
        assert cycle.only_waits
        cycle.waiters = [object()]
        assert not cycle.only_waits
        cycle.gone = True
        assert not cycle.only_waits

    def test_an_answer_of_ours_has_the_id_of_the_request(self, begin: Make) -> None:
        cycle = begin(hold, request_id_header="X-Request-ID")
        cycle.scope["state"] = {"request_id": "one"}
        cycle.abandon()
        assert cycle.answers == [(503, b"Service Unavailable", [*RETRY, (b"x-request-id", b"one")])]


class Held(Plain):
    """One whose head waits for the end of the turn."""

    __slots__ = ("flushed",)

    def flush_head(self) -> None:
        self.flushed = True


class TestHeldHeads:
    def test_those_of_one_turn_are_sent_together(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = make_runtime(loop, hold)
        held, begun, lost = (Held(runtime) for _ in range(3))
        for cycle in (held, begun, lost):
            cycle.flushed = False
            cycle.stage = HEAD_HELD
            cycle.watch_head()
        begun.stage, lost.lost = BODY, True
        turn(loop)
        assert [cycle.flushed for cycle in (held, begun, lost)] == [True, False, False]
        assert runtime.held == []
