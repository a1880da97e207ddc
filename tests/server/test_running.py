"""An event loop from its beginning to its end, on Python 3.10, which has no `asyncio.Runner`, as on those that do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace

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


def test_no_loop_is_left_behind() -> None:
    async def main() -> None:
        pass

    run_in(Made(), main())
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
