"""Whatever an application raises is a 500 and a traceback; the other streams, and the connection, go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.failures import FAILURES, handled_interrupts
from tests.http1.apps import Gate, answer, body, hello, start
from tests.http2.conftest import Converse
from uvicorn_worker.http2 import ErrorCode

__all__ = ["handled_interrupts"]

Failure = Callable[[], BaseException]
pytestmark = pytest.mark.usefixtures("handled_interrupts")


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
class TestFailure:
    def test_it_is_500_with_a_traceback(
        self, talk: Converse, failure: Failure, later: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        gate = Gate(hello)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/waits":
                await gate(scope, receive, send)
                return
            if later:
                await asyncio.sleep(0)
            if scope["path"] == "/fails":
                raise failure()
            await answer(send)

        connection = talk(app)
        waiting = connection.get(b"/waits")
        assert connection.get(b"/fails").status == 500
        assert connection.get(b"/").status == 200
        connection.harness.inside(gate.open)
        connection.pull()
        assert waiting.status == 200
        assert connection.harness.runtime.cycles == set()
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage() == "Exception in ASGI application: GET /fails"
        assert record.exc_info is not None
        assert record.exc_info[2] is not None

    def test_what_was_begun_is_reset(self, talk: Converse, failure: Failure, later: bool) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/fails":
                await answer(send)
                return
            await send(start())
            await send(body(b"12345", more=True))
            if later:
                await asyncio.sleep(0)
            raise failure()

        connection = talk(app)
        assert connection.get(b"/fails").reset == ErrorCode.INTERNAL_ERROR
        assert connection.get(b"/").status == 200
