"""`Runtime`: what all connections of one server share, and the addresses of a transport."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any
from unittest.mock import Mock

import pytest

from tests.records import records_of
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import CROWD, LONE, Runtime, end_loop


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def lines(loop: asyncio.AbstractEventLoop, **options: Any) -> bytes:
    return Runtime(Config(app=app, date_header=False, **options), app, loop).defaults.lines


class TestDefaultLines:
    def test_the_server(self, loop: asyncio.AbstractEventLoop) -> None:
        assert lines(loop) == b"server: uvicorn\r\n"
        assert lines(loop, server_header=False) == b""

    def test_configured_fields(self, loop: asyncio.AbstractEventLoop) -> None:
        headers = [("X-A", "b"), (b"X-C", b"\xff"), ("x-d", "\xe9")]
        assert lines(loop, headers=headers) == b"server: uvicorn\r\nx-a: b\r\nx-c: \xff\r\nx-d: \xe9\r\n"

    def test_a_configured_server(self, loop: asyncio.AbstractEventLoop) -> None:
        assert lines(loop, headers=[("Server", "mine")]) == b"server: mine\r\n"

    def test_without_some_names(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app, headers=[("a", "1: 2"), ("b", "3")]), app, loop)
        assert runtime.defaults.without({b"date", b"b"}) == b"server: uvicorn\r\na: 1: 2\r\n"
        assert runtime.defaults.without({b"date", b"server", b"a", b"b"}) == b""


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


class TestContext:
    @pytest.mark.parametrize(("reset", "seen"), [(False, ["lifespan"] * 2), (True, ["unset"] * 2)])
    @pytest.mark.parametrize("factory", [False, True])
    def test_of_a_request(self, loop: asyncio.AbstractEventLoop, reset: bool, seen: list[str], factory: bool) -> None:
        if factory:
            loop.set_task_factory(lambda loop, coroutine, **kwargs: asyncio.Task(coroutine, loop=loop, **kwargs))
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "lifespan")
        runtime = Runtime(Config(app=app, reset_contextvars=reset), app, loop, context=context)
        found = []

        async def request() -> None:
            found.append(VARIABLE.get())
            VARIABLE.set("request")

        async def start() -> None:
            VARIABLE.set("whoever reads the socket")
            tasks = [runtime.make_task(request(), name=name, context=runtime.context.copy()) for name in ("a", "b")]
            assert [task.get_name() for task in tasks] == ["a", "b"]
            await asyncio.gather(*tasks)

        loop.run_until_complete(start())
        assert found == seen


class Connection:
    """One that is told of ticks, and may fail at them."""

    idle = lingering = False

    def __init__(self, fails: bool = False, rest_until: int = 0) -> None:
        self.fails = fails
        self.rest_until = rest_until
        self.ticks: list[int] = []
        self.aborted = False

    def on_tick(self, tick: int) -> None:
        self.ticks.append(tick)
        if self.fails:
            raise RuntimeError("a deadline that can't be met")

    def drain(self) -> None:
        """Nothing to say."""

    close_if_idle = drain

    def abort(self) -> None:
        self.aborted = True


def cycle(times: list[float]) -> Any:
    """One that is asked for its time, which it notes."""
    made = Mock()
    made.check_time = times.append
    return made


class TestTicks:
    def test_the_connections_are_told(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        bad, good = Connection(fails=True), Connection()
        runtime.connections |= {bad, good}
        with records_of("uvicorn.error") as log:
            for now in (100.0, 100.5):
                runtime.count_tick()
                runtime.on_tick(now)
        assert bad.ticks == good.ticks == [1, 2]
        assert (bad.aborted, good.aborted) == (True, False)
        assert log.lines == ["Error at a deadline of a connection"] * 2
        assert runtime.now == 100.5

    def test_connections_at_rest_are_told_when_that_ends(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        resting = Connection(rest_until=3)
        runtime.connections.add(resting)
        for _ in range(4):
            runtime.count_tick()
            runtime.on_tick(100.0)
        assert resting.ticks == [3, 4]

    @pytest.mark.parametrize(("options", "seen"), [({}, []), ({"timeout_request": 5}, [7.0])])
    def test_the_cycles_are_where_they_have_limits(
        self, loop: asyncio.AbstractEventLoop, options: dict[str, Any], seen: list[float]
    ) -> None:
        times: list[float] = []
        runtime = Runtime(Config(app=app, **options), app, loop)
        runtime.cycles.add(cycle(times))
        runtime.on_tick(7.0)
        assert times == seen


class TestWatchers:
    def test_the_end_of_a_connection(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        connection = Connection()
        runtime.connections.add(connection)
        seen: list[int] = []
        runtime.watch_connections(lambda: seen.append(len(runtime.connections)))
        runtime.connections.discard(connection)
        assert seen == [0]

    def test_the_end_of_a_request(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        one = cycle([])
        runtime.cycles.add(one)
        seen: list[int] = []
        runtime.watch_cycles(lambda: seen.append(len(runtime.cycles)))
        runtime.cycles.discard(one)
        assert seen == [0]


class TestTasks:
    @pytest.mark.parametrize("version", [(3, 10, 13), (3, 11, 9), (3, 12, 1)])
    def test_each_python_has_its_way(
        self, loop: asyncio.AbstractEventLoop, version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if sys.version_info < version:
            pytest.skip("this Python can't")
        monkeypatch.setattr(sys, "version_info", version)
        runtime = Runtime(Config(app=app), app, loop)
        monkeypatch.undo()
        ran: list[int] = []

        async def request() -> None:
            ran.append(1)
            await asyncio.sleep(0)

        async def start() -> None:
            task = runtime.make_task(request(), name="n", context=contextvars.copy_context())
            # Eager tasks run up to where they wait before they are known.
            assert bool(ran) is (version >= (3, 12))
            assert task.get_name() == "n"
            await task

        loop.run_until_complete(start())
        assert ran == [1]

    @pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="asyncio itself takes nothing else in Python 3.13")
    def test_a_factory_that_makes_no_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        made: list[Any] = []

        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            coroutine.close()
            future = loop.create_future()
            made.append(future)
            return future

        loop.set_task_factory(factory)
        runtime = Runtime(Config(app=app), app, loop)
        made_of_it: Any = runtime.make_task(app(None, None, None), name="n", context=contextvars.copy_context())
        assert made == [made_of_it]


def test_what_ends_the_loop_is_raised_by_it(loop: asyncio.AbstractEventLoop) -> None:
    end_loop(loop, SystemExit(3))
    with pytest.raises(SystemExit):
        loop.run_forever()


def test_without_a_server_nothing_happens_at_the_limit(loop: asyncio.AbstractEventLoop) -> None:
    Runtime(Config(app=app), app, loop, limit_requests=1).on_limit()


def test_requests_that_others_have_counted(loop: asyncio.AbstractEventLoop) -> None:
    told: list[int] = []
    runtime = Runtime(Config(app=app), app, loop, limit_requests=2, on_limit=lambda: told.append(runtime.requests))
    for number in (1, 2, 3):
        runtime.count_requests(number)
    assert (runtime.requests, told) == (3, [2, 3])


class TestEndOfATurn:
    def test_an_error_is_no_concern_of_the_others(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        faults: list[Any] = []
        loop.set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        error = ValueError("x")
        ended: list[int] = []
        connections = [Mock(end_turn=lambda number=number: ended.append(number)) for number in range(4)]
        connections[1].end_turn = Mock(side_effect=error)
        for connection in connections:
            runtime.write_at_end_of_turn(connection)
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
        assert (ended, faults) == ([0, 2, 3], [error])


class TestEndOfTurn:
    """Who has written in a turn of the loop writes at its end, and whether that were many is known."""

    @pytest.fixture
    def runtime(self, loop: asyncio.AbstractEventLoop) -> Runtime:
        return Runtime(Config(app=app), app, loop)

    def end(self, runtime: Runtime, connections: int) -> None:
        """A turn in which so many have written."""
        writing = [Mock() for _ in range(connections)]
        for connection in writing:
            runtime.write_at_end_of_turn(connection)
        assert [connection.end_turn.call_count for connection in writing] == [0] * connections
        runtime.end_turn()
        assert [connection.end_turn.call_count for connection in writing] == [1] * connections
        assert runtime.writing == []

    def test_it_is_asked_for_once(self, runtime: Runtime, loop: asyncio.AbstractEventLoop) -> None:
        first, second = Mock(), Mock()
        runtime.write_at_end_of_turn(first)
        runtime.write_at_end_of_turn(second)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert (first.end_turn.call_count, second.end_turn.call_count) == (1, 1)

    def test_many_are_a_crowd_until_they_were_few_twice(self, runtime: Runtime) -> None:
        assert not runtime.crowded
        self.end(runtime, CROWD)
        assert runtime.crowded
        self.end(runtime, CROWD - 1)
        assert runtime.crowded
        self.end(runtime, CROWD)
        self.end(runtime, 1)
        assert runtime.crowded
        runtime.lone = 0
        self.end(runtime, 1)
        assert not runtime.crowded
        assert runtime.lone == LONE

    def test_few_are_none(self, runtime: Runtime) -> None:
        for _ in range(3):
            self.end(runtime, CROWD - 1)
        assert not runtime.crowded

    def test_one_that_fails_is_no_concern_of_the_others(self, runtime: Runtime) -> None:
        before, fails, behind = Mock(), Mock(), Mock()
        fails.end_turn.side_effect = KeyboardInterrupt
        for connection in (before, fails, behind):
            runtime.write_at_end_of_turn(connection)
        with pytest.raises(KeyboardInterrupt):
            runtime.end_turn()
        assert runtime.writing == [behind]
        runtime.end_turn()
        assert (before.end_turn.call_count, behind.end_turn.call_count) == (1, 1)
