"""The application's lifespan: modes, failures, state and context."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from asgiref import typing as asgi

from tests.asgi_types import conforms
from tests.failures import FAILURES, handled_interrupts
from tests.sockets import Run
from uvicorn_worker import Config
from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.core.errors import LifespanError
from uvicorn_worker.server.lifespan import Lifespan

__all__ = ["handled_interrupts"]

Log = Callable[..., list[str]]
MODES = ["auto", "on"]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def lifespan_of(app: ASGIApp, mode: str = "auto", **options: Any) -> Lifespan:
    return Lifespan(Config(app=app, lifespan=mode, **options), app)


async def whole(app: ASGIApp, mode: str = "auto", timeout: float | None = None, **options: Any) -> Lifespan:
    """Startup and shutdown."""
    lifespan = lifespan_of(app, mode, **options)
    await lifespan.startup()
    await lifespan.shutdown(timeout)
    return lifespan


class Good:
    """An application with a lifespan; it remembers what happened."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received: list[Event] = []
        self.scope: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while True:
            event = await receive()
            self.received.append(event)
            self.events.append(event["type"])
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                self.events.append("end")
                return


async def none(scope: Scope, receive: Receive, send: Send) -> None:
    """An application without a lifespan."""
    assert scope["type"] == "http", "only http"


async def failed(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def failed_and_raised(scope: Scope, receive: Receive, send: Send) -> None:
    await failed(scope, receive, send)
    raise ValueError("as Starlette does")


async def raised(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("a mistake")


async def returned(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("mode", MODES)
class TestGood:
    def test_startup_and_shutdown(self, run: Run, mode: str, log: Log) -> None:
        app = Good()
        run(whole(app, mode))
        assert app.events == ["lifespan.startup", "lifespan.shutdown", "end"]
        assert log() == [
            "Waiting for application startup.",
            "Application startup complete.",
            "Waiting for application shutdown.",
            "Application shutdown complete.",
        ]

    def test_the_scope(self, run: Run, mode: str) -> None:
        app = Good()
        run(whole(app, mode))
        assert app.scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        conforms(app.scope, asgi.LifespanScope, "scope")
        startup, shutdown = app.received
        conforms(startup, asgi.LifespanStartupEvent, "lifespan.startup")
        conforms(shutdown, asgi.LifespanShutdownEvent, "lifespan.shutdown")

    def test_the_state_is_what_the_application_made_of_it(self, run: Run, mode: str) -> None:
        app = Good()

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"]["key"] = "value"
            await app(scope, receive, send)

        lifespan = run(whole(with_state, mode))
        assert lifespan.state == {"key": "value"}

    def test_the_context_is_that_of_the_startup(self, run: Run, mode: str) -> None:
        async def with_context(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            variable.set("set at startup")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            variable.set("set at shutdown")
            await send({"type": "lifespan.shutdown.complete"})

        lifespan = run(whole(with_context, mode))
        assert lifespan.context[variable] == "set at startup"
        assert variable.get() == "unset"

    def test_shutdown_without_startup_does_nothing(self, run: Run, mode: str) -> None:
        app = Good()
        run(lifespan_of(app, mode).shutdown(1))
        assert app.events == []

    def test_clean_up_after_the_shutdown_is_waited_for(self, run: Run, mode: str) -> None:
        app = Good()

        async def with_clean_up(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            await asyncio.sleep(0.01)
            app.events.append("clean")

        run(whole(with_clean_up, mode))
        assert app.events[-1] == "clean"


def test_off_means_that_it_is_not_called(run: Run, log: Log) -> None:
    app = Good()
    run(whole(app, "off"))
    assert app.scope is None
    assert log() == []


class TestWithoutLifespan:
    def test_auto_starts_and_says_no_more_than_that(self, run: Run, log: Log) -> None:
        """What waits for this line, as scripts around uvicorn do, waits for Django's application, too."""
        run(whole(none))
        assert log() == ["Application startup complete."]

    def test_on_fails_with_a_traceback(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(LifespanError, match="raised in its lifespan startup"):
            run(whole(none, "on"))
        assert not caplog.records  # who started the lifespan reports it, once

    async def silent(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Returns, whatever it is asked."""

    def test_one_that_returns_at_once_is_served_in_auto(self, run: Run, log: Log) -> None:
        run(whole(self.silent))
        assert log(logging.WARNING) == []

    def test_and_in_on_with_a_warning(self, run: Run, log: Log) -> None:
        """uvicorn serves it, too."""
        run(whole(self.silent, "on"))
        (line,) = log(logging.WARNING)
        assert line.startswith("The application returned without completing its lifespan startup; it is served")
        assert log()[-1] == "Application startup complete."


class TestFailure:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("app", [failed, failed_and_raised])
    def test_startup_failed_always_fails(self, run: Run, mode: str, app: ASGIApp, log: Log) -> None:
        with pytest.raises(LifespanError, match="the lifespan startup of the application failed"):
            run(whole(app, mode))
        assert log(logging.WARNING) == []  # who started the lifespan reports it, once

    def test_without_a_message(self, run: Run, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed"})

        with pytest.raises(LifespanError, match=r"the lifespan startup of the application failed$"):
            run(whole(app))

    def test_raising_after_startup_was_taken_is_a_warning_in_auto(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(whole(raised))
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.levelno == logging.WARNING
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)

    def test_and_fails_in_on(self, run: Run, log: Log) -> None:
        with pytest.raises(LifespanError, match="raised in its lifespan startup"):
            run(whole(raised, "on"))
        assert log(logging.ERROR) == []  # who started the lifespan reports it, once

    def test_returning_after_startup_was_taken(self, run: Run, log: Log) -> None:
        run(whole(returned))
        assert log() == ["Waiting for application startup.", "Application startup complete."]
        run(whole(returned, "on"))
        assert len(log(logging.WARNING)) == 1

    def test_a_message_that_is_not_allowed(self, run: Run) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            with pytest.raises(RuntimeError, match=r"'lifespan.shutdown.complete' .* lifespan.startup.complete or"):
                await send({"type": "lifespan.shutdown.complete"})
            await receive()
            await send({"type": "lifespan.startup.complete"})
            with pytest.raises(RuntimeError, match=r"'lifespan.startup.failed' .* lifespan.shutdown.complete or"):
                await send({"type": "lifespan.startup.failed"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            for kind in ("complete", "failed"):
                with pytest.raises(RuntimeError, match=r"expects lifespan\.shutdown"):
                    await send({"type": f"lifespan.shutdown.{kind}"})

        run(whole(app, "on"))


class TestEnd:
    def test_an_exception_while_it_serves_is_logged(self, run: Run, log: Log) -> None:
        end = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await end.wait()
            raise ValueError("a mistake")

        async def main() -> None:
            lifespan = lifespan_of(app)
            await lifespan.startup()
            end.set()
            await asyncio.sleep(0.01)
            await lifespan.shutdown(1)

        run(main())
        assert log(logging.ERROR) == ["The lifespan of the application ended with an exception"]

    def test_a_loop_that_is_closed_around_it_is_no_error(self, log: Log) -> None:
        """`loop.stop()` and `loop.close()`, as bots have it: its task is left, and ends with the process."""
        app, loop = Good(), asyncio.new_event_loop()
        lifespan = lifespan_of(app)
        loop.run_until_complete(lifespan.startup())
        loop.close()
        task: Any = lifespan._task
        task._log_destroy_pending = False
        task.get_coro().close()
        assert app.events == ["lifespan.startup"]
        assert log(logging.ERROR) == []

    def test_shutdown_failed_is_logged(self, run: Run, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.failed", "message": "no more disk"})
            raise ValueError("as Starlette does")

        run(whole(app))
        assert log(logging.ERROR) == ["the lifespan shutdown of the application failed: no more disk"]
        assert "Application shutdown complete." not in log()

    def test_an_exception_in_the_shutdown_is_logged(self, run: Run, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            raise ValueError("a mistake")

        run(whole(app))
        assert len(log(logging.ERROR)) == 1

    def test_an_exception_after_the_shutdown_is_logged(self, run: Run, log: Log) -> None:
        good = Good()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await good(scope, receive, send)
            raise ValueError("a mistake")

        run(whole(app))
        assert log(logging.ERROR) == ["The lifespan raised after its shutdown was complete"]


class TestTime:
    def test_a_startup_that_takes_too_long_fails(self, run: Run) -> None:
        with pytest.raises(LifespanError, match=r"took longer than 0.05 seconds"):
            run(whole(stuck, timeout_lifespan_startup=0.05))

    @pytest.mark.skipif(asyncio.Task is asyncio.tasks._PyTask, reason="there is no part in C that stays")  # type: ignore[attr-defined]
    @pytest.mark.parametrize("phase", ["startup", "shutdown"])
    def test_where_asyncio_was_loaded_twice(
        self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch, phase: str
    ) -> None:
        """As `ddtrace-run` does beside gevent: what a cancelled task raises is not what asyncio itself looks for."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if phase == "shutdown":
                await receive()
                await send({"type": "lifespan.startup.complete"})
            await stuck(scope, receive, send)

        async def main() -> None:
            monkeypatch.setattr(asyncio.exceptions, "CancelledError", type("Another", (BaseException,), {}))
            try:
                await whole(app, timeout_lifespan_startup=0.05, timeout_lifespan_shutdown=0.05)
            finally:
                monkeypatch.undo()

        if phase == "startup":
            with pytest.raises(LifespanError, match="took longer"):
                run(main())
        else:
            run(main())
            assert log(logging.ERROR) == ["Application shutdown did not complete in time."]

    def test_a_startup_that_is_cancelled_cancels_the_application(self, run: Run) -> None:
        cancelled: list[bool] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await stuck(scope, receive, send)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async def main() -> None:
            task = asyncio.ensure_future(lifespan_of(app).startup())
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        run(main())
        assert cancelled == [True]

    @pytest.mark.parametrize(
        ("timeout", "options"),
        [(0.05, {}), (None, {"timeout_lifespan_shutdown": 0.05}), (10, {"timeout_lifespan_shutdown": 0.05})],
    )
    def test_a_shutdown_that_takes_too_long_is_given_up(
        self, run: Run, timeout: float | None, options: dict[str, Any], log: Log
    ) -> None:
        ended: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            try:
                await stuck(scope, receive, send)
            finally:
                ended.append("cancelled")

        run(whole(app, timeout=timeout, **options))
        assert log(logging.ERROR) == ["Application shutdown did not complete in time."]
        assert ended == ["cancelled"]


@pytest.mark.usefixtures("handled_interrupts")
class TestAnyException:
    @staticmethod
    def raising(failure: Callable[[], BaseException], *events: str) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            for event in events:
                await send({"type": event})
            raise failure()

        return app

    @pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
    def test_in_the_startup(self, run: Run, failure: Callable[[], BaseException], log: Log) -> None:
        with pytest.raises(LifespanError, match="raised in its lifespan startup") as caught:
            run(whole(self.raising(failure), "on"))
        assert type(caught.value.__cause__) is type(failure())
        run(whole(self.raising(failure), "auto"))
        assert len(log(logging.WARNING)) == 1

    @pytest.mark.parametrize("failure", [SystemExit, KeyboardInterrupt])
    def test_an_exit_before_the_startup_is_told_of(self, run: Run, failure: type[BaseException], log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise failure

        run(whole(app, "auto"))
        assert log(logging.WARNING) == ["The application raised in its lifespan startup; it is served without lifespan"]

    @pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
    def test_while_it_serves(self, run: Run, failure: Callable[[], BaseException], log: Log) -> None:
        run(whole(self.raising(failure, "lifespan.startup.complete")))
        if sys.version_info >= (3, 11) or not isinstance(failure(), asyncio.CancelledError):
            assert log(logging.ERROR) == ["The lifespan of the application ended with an exception"]
