"""Whatever an application raises ends its WebSocket with 1011, or with a 500 before it is open, and a traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.failures import FAILURES, handled_interrupts
from tests.websocket.conftest import Open
from uvicorn_worker.core.asgi import Receive, Scope, Send

__all__ = ["handled_interrupts"]

Failure = Callable[[], BaseException]
pytestmark = pytest.mark.usefixtures("handled_interrupts")


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
class TestFailure:
    def test_before_it_is_open(
        self, connect: Open, failure: Failure, later: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if later:
                await asyncio.sleep(0)
            raise failure()

        socket = connect(app).settle()
        assert socket.handshake.refused == 500
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage() == "Exception in ASGI application: WebSocket /"
        assert record.exc_info is not None
        assert record.exc_info[2] is not None

    def test_after_it(self, connect: Open, failure: Failure, later: bool, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            if later:
                await asyncio.sleep(0)
            raise failure()

        socket = connect(app).settle()
        assert socket.closes == [(1011, "")]
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage() == "Exception in ASGI application: WebSocket /"
