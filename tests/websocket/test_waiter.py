"""The waiter: a task that goes on within the call that brings its message."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from uvicorn_worker.websocket.waiter import Waiter

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
        stage.seen.append((variable.get(), asyncio.current_task() is task))
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
