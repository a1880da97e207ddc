"""The option callback_notify: called with each heartbeat."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from uvicorn_worker.worker.notify_callback import NotifyCallback

LOG = logging.getLogger("test")


def run(function: Any) -> None:
    async def beats() -> None:
        callback = NotifyCallback(function, LOG)
        for _ in range(2):
            callback()
            for _ in range(3):
                await asyncio.sleep(0)

    asyncio.run(beats())


def test_none_is_nothing() -> None:
    run(None)


def test_a_function_is_called_with_each_heartbeat() -> None:
    calls: list[int] = []
    run(lambda: calls.append(1))
    assert calls == [1, 1]


def test_a_coroutine_function_is_awaited() -> None:
    calls: list[int] = []

    async def function() -> None:
        await asyncio.sleep(0)
        calls.append(1)

    run(function)
    assert calls == [1, 1]


def test_one_that_is_still_busy_is_not_called_again() -> None:
    calls: list[int] = []

    async def function() -> None:
        calls.append(1)
        await asyncio.get_running_loop().create_future()

    run(function)
    assert calls == [1]


@pytest.mark.parametrize("awaited", [False, True])
def test_an_error_is_logged_and_no_more(awaited: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("no")

    async def fails_later() -> None:
        raise RuntimeError("no")

    run(fails_later if awaited else fails)
    assert [record.getMessage() for record in caplog.records] == ["option callback_notify: the call failed"] * 2
    assert all(record.exc_info for record in caplog.records)
