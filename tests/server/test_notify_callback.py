"""The option callback_notify: called with each heartbeat."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.server.running import App, Running, until
from tests.sockets import Run
from uvicorn_worker.core.config import Config
from uvicorn_worker.server.notify_callback import NotifyCallback
from uvicorn_worker.server.surroundings import Surroundings

LOG = logging.getLogger("test")


def beat(function: Any) -> None:
    async def beats() -> None:
        callback = NotifyCallback(function, LOG)
        for _ in range(2):
            callback()
            for _ in range(3):
                await asyncio.sleep(0)

    asyncio.run(beats())


def test_none_is_nothing() -> None:
    beat(None)


def test_a_function_is_called_with_each_heartbeat() -> None:
    calls: list[int] = []
    beat(lambda: calls.append(1))
    assert calls == [1, 1]


def test_a_coroutine_function_is_awaited() -> None:
    calls: list[int] = []

    async def function() -> None:
        await asyncio.sleep(0)
        calls.append(1)

    beat(function)
    assert calls == [1, 1]


def test_one_that_is_still_busy_is_not_called_again() -> None:
    calls: list[int] = []

    async def function() -> None:
        calls.append(1)
        await asyncio.get_running_loop().create_future()

    beat(function)
    assert calls == [1]


@pytest.mark.parametrize("awaited", [False, True])
def test_an_error_is_logged_and_no_more(awaited: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("no")

    async def fails_later() -> None:
        raise RuntimeError("no")

    beat(fails_later if awaited else fails)
    assert [record.getMessage() for record in caplog.records] == ["option callback_notify: the call failed"] * 2
    assert all(record.exc_info for record in caplog.records)


def test_a_server_alone_calls_it_for_a_watchdog(run: Run) -> None:
    calls: list[int] = []

    async def function() -> None:
        calls.append(1)

    async def main() -> None:
        async with Running(App(), callback_notify=function, timeout_notify=0.6):
            await until(lambda: len(calls) >= 2)

    run(main())


def test_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    now = [0.0]
    monkeypatch.setattr("uvicorn_worker.server.surroundings.time.monotonic", lambda: now[0])
    for seconds, expected in ((None, 3), (10.0, 7)):
        surroundings, config = Surroundings(), Config("main:app", timeout_notify=seconds, callback_notify=notes(calls))
        for tick in range(61):
            now[0] = float(tick)
            surroundings.on_tick(config)
        assert len(calls) == expected
        calls.clear()
    Surroundings().on_tick(Config("main:app"))


def notes(calls: list[int]) -> Any:
    return lambda: calls.append(1)
