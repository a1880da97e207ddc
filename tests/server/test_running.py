"""An event loop from its beginning to its end, on Python 3.10, which has no `asyncio.Runner`, as on those that do."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.server.running import run_in

OURS = sys.version_info[:2]


@pytest.fixture(
    params=[
        pytest.param((3, 10), id="3.10"),
        pytest.param(OURS, id="this", marks=pytest.mark.skipif(OURS < (3, 11), reason="it is 3.10")),
    ],
    autouse=True,
)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn_worker.server.running.sys", SimpleNamespace(version_info=request.param))


class Made:
    """Makes loops, and keeps them."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []

    def __call__(self) -> asyncio.AbstractEventLoop:
        self.loops.append(asyncio.new_event_loop())
        return self.loops[-1]


def test_it_runs_in_the_loop_that_is_made() -> None:
    made = Made()
    seen: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        seen.append(asyncio.get_running_loop())

    run_in(made, main())
    assert seen == made.loops
    assert made.loops[0].is_closed()


def test_an_error_is_raised_when_all_is_cleaned_up() -> None:
    made = Made()
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.append("generator")

    kept: list[object] = []

    async def main() -> None:
        generator = numbers()
        kept.extend((asyncio.ensure_future(endless()), generator))
        await generator.__anext__()
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, ended.append, "thread")
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        run_in(made, main())
    assert ended == ["thread", "task", "generator"]
    assert made.loops[0].is_closed()


def test_in_a_running_loop_it_is_asyncios_error(recwarn: pytest.WarningsRecorder) -> None:
    """What notebooks show, and what is looked for then; nothing was begun."""
    made = Made()

    async def inner() -> None:
        raise NotImplementedError

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"asyncio\.run\(\) cannot be called from a running event loop"):
            run_in(made, inner())

    asyncio.run(main())
    assert made.loops == []
    gc.collect()
    assert [str(each.message) for each in recwarn] == []


def test_no_loop_is_left_behind() -> None:
    async def main() -> None:
        pass

    run_in(Made(), main())
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


class Nesting(asyncio.SelectorEventLoop):
    """One that runs within itself, as nest_asyncio makes them."""

    _nest_patched = True

    def run_until_complete(self, future: Any) -> Any:
        if not self.is_running():
            return super().run_until_complete(future)
        outer: Any = asyncio.current_task()
        tasks: Any = asyncio.tasks
        tasks._leave_task(self, outer)
        try:
            while not future.done():
                self._run_once()  # type: ignore[attr-defined]
        finally:
            tasks._enter_task(self, outer)
        return future.result()


def within(loop: asyncio.AbstractEventLoop, run: Callable[[], Any]) -> Any:
    """What `run` gives that is called where `loop` runs."""

    async def main() -> Any:
        return run()

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_within_a_loop_that_may_run_within_itself_it_is_that_one() -> None:
    async def main() -> type[asyncio.AbstractEventLoop]:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop())

    assert within(Nesting(), lambda: run_in(Made(), main())) is Nesting


def test_an_interrupt_there_ends_it() -> None:
    ended: list[str] = []

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        inner = asyncio.ensure_future(interrupted())
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("main")
            inner.cancelled() or inner.exception()

    def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_in(Made(), main())

    within(Nesting(), run)
    assert ended == ["main"]


def test_an_interrupt_out_of_it_is_told_once() -> None:
    told: list[Any] = []
    loop = Nesting()
    loop.set_exception_handler(lambda _, context: told.append(context))

    async def main() -> None:
        raise KeyboardInterrupt

    def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            run_in(Made(), main())

    within(loop, run)
    gc.collect()
    assert told == []


def test_within_another_it_says_what_to_do() -> None:
    async def main() -> None:
        """Never run, and closed: nothing warns of it."""

    def run() -> None:
        with pytest.raises(RuntimeError, match=r"a running event loop, such as that of a notebook: await Server"):
            run_in(Made(), main())

    within(asyncio.new_event_loop(), run)
