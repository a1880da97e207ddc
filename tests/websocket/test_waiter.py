"""The waiter: a task that goes on within the call that brings its message."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from uvicorn_worker.websocket.waiter import PlainWaiter, Waiter, is_understood, make_waiter

# As asyncio has it in C, where it has, and in Python.
TASKS: list[Any] = [asyncio.Task, asyncio.tasks._PyTask]  # type: ignore[attr-defined]  # has no public name

Seen = list[Any]


class Stage:
    """A loop, turned by hand, with a waiter and tasks that wait for it."""

    def __init__(self, task: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.waiter = Waiter(self.loop)
        self.seen: Seen = []
        self._task = task

    def turn(self, function: Callable[[], object] | None = None) -> None:
        """One turn of the loop, in which `function` is called, as a transport calls its protocol."""
        if function is not None:
            self.loop.call_soon(function)
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def wait(self, times: int = 1) -> asyncio.Task[None]:
        """A task that waits, and notes what it is given."""
        task: asyncio.Task[None] = self._task(self._wait(times), loop=self.loop)
        self.turn()
        return task

    async def _wait(self, times: int) -> None:
        for _ in range(times):
            try:
                self.seen.append(await self.waiter)
            except asyncio.CancelledError as exc:
                self.seen.append(exc.args)
                raise

    def current_task(self) -> asyncio.Task[Any] | None:
        if sys.version_info >= (3, 14) and self._task is not asyncio.Task:
            # The tasks in C and those in Python don't know of each other any more.
            return asyncio.tasks._py_current_task()  # type: ignore[attr-defined,no-any-return]  # has no public name
        return asyncio.current_task()

    def hand_over(self, message: str | bytes | None) -> None:
        def call() -> None:
            self.seen.append("before")
            assert self.waiter.hand_over(message)
            self.seen.append("after")

        self.turn(call)


@pytest.fixture(params=TASKS, ids=["C", "Python"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(request.param)
    yield stage
    stage.turn()
    stage.loop.close()


def test_it_is_a_future_to_asyncio(stage: Stage) -> None:
    assert asyncio.isfuture(stage.waiter)


@pytest.mark.parametrize("message", ["a", b"a", "", b"", None])
def test_the_task_goes_on_at_once(stage: Stage, message: str | bytes | None) -> None:
    task = stage.wait()
    stage.hand_over(message)
    assert stage.seen == ["before", message, "after"]
    stage.turn()
    assert task.done()


def test_any_number_of_times(stage: Stage) -> None:
    task = stage.wait(3)
    for message in "abc":
        assert not task.done()
        stage.hand_over(message)
    assert [item for item in stage.seen if item in ("a", "b", "c")] == ["a", "b", "c"]
    stage.turn()
    assert task.done()


def test_it_is_busy_until_the_task_goes_on(stage: Stage) -> None:
    assert not stage.waiter.busy
    stage.wait()
    assert stage.waiter.busy
    stage.waiter.wake()
    assert stage.waiter.busy
    stage.turn()
    assert not stage.waiter.busy


def test_woken_it_looks_again_in_the_next_turn(stage: Stage) -> None:
    stage.wait(2)
    stage.turn(stage.waiter.wake)
    assert stage.seen == []
    stage.turn()
    assert stage.seen == [None]
    stage.hand_over("a")
    assert stage.seen == [None, "before", "a", "after"]


def test_woken_twice_it_looks_once(stage: Stage) -> None:
    stage.wait(2)
    stage.waiter.wake()
    stage.waiter.wake()
    stage.turn()
    stage.turn()
    assert stage.seen == [None]
    stage.hand_over(None)


def test_without_a_task_nothing_is_woken(stage: Stage) -> None:
    assert not stage.waiter.hand_over("a")
    stage.waiter.wake()
    stage.turn()
    assert not stage.waiter.busy


@pytest.mark.parametrize("words", [(), ("enough",)])
def test_a_task_that_is_cancelled(stage: Stage, words: tuple[str, ...]) -> None:
    first = stage.wait()
    first.cancel(*words)
    stage.turn()
    assert first.cancelled()
    assert stage.seen == [words]
    # The next one is not.
    second = stage.wait()
    stage.hand_over("a")
    stage.turn()
    assert second.done()
    assert stage.seen == [words, "before", "a", "after"]


def test_a_task_that_is_cancelled_when_it_was_woken(stage: Stage) -> None:
    task = stage.wait()
    stage.waiter.wake()
    task.cancel()
    stage.turn()
    stage.turn()
    assert task.cancelled()
    assert not stage.waiter.busy


def test_a_timeout(stage: Stage) -> None:
    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stage._wait(1), 0.001)
        stage.seen.append("late")

    stage.loop.run_until_complete(wait())
    assert stage.seen == [(), "late"]
    assert not stage.waiter.busy


def test_a_coroutine_that_is_thrown_away(stage: Stage) -> None:
    coroutine = stage._wait(1)
    coroutine.send(None)
    coroutine.close()
    assert not stage.waiter.busy
    stage.waiter.wake()


def test_the_task_has_its_own_context(stage: Stage) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")

    async def wait() -> None:
        variable.set("the task's")
        await stage.waiter
        stage.seen.append((variable.get(), stage.current_task() is task))
        variable.set("later")

    task = stage._task(wait(), loop=stage.loop)
    stage.turn()
    stage.hand_over("a")
    stage.seen.append(variable.get())
    assert stage.seen == ["before", ("the task's", True), "after", "nobody's"]


def test_what_the_task_raises_is_its_own(stage: Stage) -> None:
    async def wait() -> None:
        await stage.waiter
        raise RuntimeError("the application's")

    task = stage._task(wait(), loop=stage.loop)
    stage.turn()
    stage.hand_over("a")
    assert stage.seen == ["before", "after"]
    assert str(task.exception()) == "the application's"


def test_within_another_task_it_does_not_go_on(stage: Stage) -> None:
    task = stage.wait()

    async def other() -> None:
        stage.seen.append(stage.waiter.hand_over("a"))

    other_task = stage._task(other(), loop=stage.loop)
    stage.turn()
    assert other_task.done()
    assert stage.seen == [False]
    assert not task.done()
    # It still waits.
    stage.hand_over("b")
    assert stage.seen == [False, "before", "b", "after"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_ends_the_loop(stage: Stage, kind: type[BaseException]) -> None:
    async def wait() -> None:
        await stage.waiter
        raise kind

    task = stage._task(wait(), loop=stage.loop)
    stage.turn()
    stage.hand_over("a")
    assert stage.seen == ["before", "after"]
    with pytest.raises(kind):
        stage.turn()
    assert isinstance(task.exception(), kind)


@pytest.mark.parametrize("task", TASKS, ids=["C", "Python"])
def test_the_tasks_of_this_python_take_it(task: Any) -> None:
    """Where this fails on a new Python, WebSockets still work, with plain futures: then the Waiter is to be mended."""
    assert is_understood(task)


def test_that_is_found_out_once_and_used() -> None:
    loop = asyncio.new_event_loop()
    assert isinstance(make_waiter(loop), Waiter)
    loop.close()


class OddTask(asyncio.tasks._PyTask):  # type: ignore[name-defined]  # has no public name
    """A task that knows another name for what asyncio calls `_asyncio_future_blocking`."""

    def _Task__step(self, exc: BaseException | None = None) -> None:  # noqa: N802 - what the base class has
        super()._Task__step(exc or TypeError("yielded an unknown kind of future"))


def test_tasks_that_do_not_take_it_are_known_by_a_trial() -> None:
    assert not is_understood(OddTask)


def test_where_no_task_can_be_made_it_is_not_taken(recwarn: pytest.WarningsRecorder) -> None:
    def make(coroutine: Any, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
        coroutine.close()
        raise AttributeError("_loop")

    assert not is_understood(make)


class TestPlain:
    """The other way: a plain future."""

    @pytest.fixture
    def loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()

    def test_woken_it_looks_again(self, loop: asyncio.AbstractEventLoop) -> None:
        async def main() -> None:
            waiter = PlainWaiter(loop)
            assert not waiter.busy
            waiter.wake()
            task = loop.create_task(wait(waiter))
            await asyncio.sleep(0)
            assert waiter.busy
            assert waiter.wakeup is None
            assert not waiter.hand_over("a")
            waiter.wake()
            waiter.wake()
            assert await task is None
            assert not waiter.busy

        async def wait(waiter: PlainWaiter) -> str | bytes | None:
            return await waiter

        loop.run_until_complete(main())

    def test_cancelled_it_is_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        async def main() -> None:
            waiter = PlainWaiter(loop)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wait(waiter), 0.001)
            assert not waiter.busy

        async def wait(waiter: PlainWaiter) -> None:
            await waiter

        loop.run_until_complete(main())


def test_where_there_is_no_thread_to_try_it_in_it_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert not is_understood(asyncio.Task)


class Greenlet:
    """A thread as gevent has it, which runs where the event loop does."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self.start = target

    def join(self) -> None:
        """It has ended."""


def test_threads_that_are_none(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> bool:
        return is_understood(asyncio.Task)

    monkeypatch.setattr(threading, "Thread", Greenlet)
    loop = asyncio.new_event_loop()
    assert not loop.run_until_complete(main())
    loop.close()
    gc.collect()
    # Of coroutines that were never awaited.
    assert not recwarn.list
