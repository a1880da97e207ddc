"""The worker as a process, under nobody but this test: what it answers to signals, and with which code it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gunicorn import sock
from gunicorn.errors import AppImportError
from gunicorn.reloader import reloader_engines

from tests.worker.process import APP_ERROR, BOOT_ERROR, Start, app, say
from uvicorn_worker.board import ends
from uvicorn_worker.core.errors import AppLoadError, BindError
from uvicorn_worker.server import Server
from uvicorn_worker.worker import worker as worker_module
from uvicorn_worker.worker.worker import UvicornH11Worker

# Of threads of those that run the tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_on_a_python_whose_collector_can_not_freeze(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy's."""
    monkeypatch.delattr(gc, "freeze", raising=False)
    process = start().serves()
    assert process.get()[0] == 200
    process.tell(signal.SIGTERM)
    assert process.code() == 0


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it has another collector")
@pytest.mark.parametrize(("before", "then"), [((700, 10, 10), 2000), ((5000, 10, 10), 5000)])
def test_garbage_is_searched_for_as_newer_pythons_do(start: Start, before: tuple[int, int, int], then: int) -> None:
    """Unless the operator has said how often, in a hook before the worker; and the application has the last word."""
    seen: list[int] = []

    def load() -> Any:
        seen.append(gc.get_threshold()[0])
        say(f"searches at {seen}")
        return app

    usual = gc.get_threshold()
    gc.set_threshold(*before)
    try:
        process = start(load).serves()
    finally:
        gc.set_threshold(*usual)
    process.tell(signal.SIGTERM)
    assert process.code() == 0
    assert f"searches at [{then}]" in process.log


class TestEnds:
    def test_a_limit(self, start: Start) -> None:
        process = start(max_requests=1).serves()
        assert process.get() == (200, b"ok")
        assert process.code() == 0
        assert process.slot.cause[0] == ends.MAX_REQUESTS

    @pytest.mark.parametrize("code", [BOOT_ERROR, APP_ERROR, 9])
    def test_an_exit_of_the_application_never_ends_the_master(self, start: Start, code: int) -> None:
        """3 and 4 would say that no worker can boot."""

        async def leaves(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                asyncio.get_running_loop().call_later(0.1, sys.exit, code)
                await receive()

        process = start(lambda: leaves)
        assert process.code() == (9 if code == 9 else 1)
        assert f"The application has called sys.exit({code})" in process.log
        assert process.slot.cause == (ends.EXIT, code)


class TestBoot:
    @pytest.mark.parametrize(
        ("error", "code", "says"),
        [
            (AppLoadError("there is no 'ap'"), APP_ERROR, "The application can't be loaded: there is no 'ap'"),
            (AppImportError("no such thing"), APP_ERROR, "The application can't be loaded: no such thing"),
            (KeyError("DATABASE"), BOOT_ERROR, "The application can't be loaded: 'DATABASE'"),
            (SystemExit(2), APP_ERROR, "The application exited with 2 while it was loaded."),
        ],
    )
    def test_an_application_that_can_not_be_loaded(
        self, start: Start, error: BaseException, code: int, says: str
    ) -> None:
        def load() -> Any:
            raise error

        process = start(load)
        assert process.code() == code
        assert says in process.log
        assert process.slot.cause == (ends.NOT_BOOTED, code)
        # One line says all of an error that is ours; another is shown with the line that has raised it.
        assert ("Traceback" in process.log) is isinstance(error, KeyError)

    def test_a_startup_that_fails(self, start: Start) -> None:
        async def fails(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        process = start(lambda: fails)
        assert process.code() == BOOT_ERROR
        assert "The application can't be started" in process.log
        assert "no database" in process.log
        assert "Traceback" not in process.log

    def test_of_several_one_reports_and_the_others_leave_to_it(self, start: Start) -> None:
        def load() -> Any:
            raise KeyError("DATABASE")

        first = start(load)
        assert first.code() == BOOT_ERROR
        second = start(load, before=first)
        assert second.code() == 0
        assert second.log.count("The application can't be loaded") == 1

    def test_a_failure_while_others_serve_is_no_reason_to_end_the_service(self, start: Start) -> None:
        serving = start().serves()

        def load() -> Any:
            raise KeyError("DATABASE")

        failing = start(load, before=serving)
        failing.wait_log("Other workers serve on")
        failing.tell(signal.SIGTERM)
        assert failing.code() == 0
        assert serving.get() == (200, b"ok")
        serving.tell(signal.SIGTERM)
        assert serving.code() == 0

    def test_a_place_that_can_not_be_had_is_one_line(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            async def _serve(self) -> None:
                raise BindError("127.0.0.1:80 can't be had")

        process = start(kind=Own)
        assert process.code() == BOOT_ERROR
        assert "127.0.0.1:80 can't be had" in process.log
        assert "Traceback" not in process.log

    def test_whoever_is_told_to_leave_and_fails_then_is_no_failure(self, start: Start) -> None:
        """Nobody waits for it, so nobody is told but at the level debug."""

        class Own(UvicornH11Worker):
            async def _serve(self) -> None:
                self.own_server.should_exit = True
                raise RuntimeError("in the middle of it")

        process = start(kind=Own)
        assert process.code() == 0
        assert "Told to leave before it served" in process.log
        assert "ERROR" not in process.log

    def test_a_subclass_that_exits_at_its_start(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            def init_signals(self) -> None:
                sys.exit(9)

        process = start(kind=Own)
        assert process.code() == BOOT_ERROR
        assert "The worker has exited with 9 at its start." in process.log

    def test_a_subclass_that_has_not_served(self, start: Start) -> None:
        class Idle(UvicornH11Worker):
            async def _serve(self) -> None:
                """Forgets it."""

        process = start(kind=Idle)
        assert process.code() == BOOT_ERROR
        assert "_serve() has come to its end without having served" in process.log

    def test_an_assignment_that_can_not_be_used_is_one_line(self, start: Start) -> None:
        class Wrong(UvicornH11Worker):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.config.ws_max_size = "large"

        process = start(kind=Wrong)
        assert process.code() == BOOT_ERROR
        assert "option ws_max_size = 'large' (from an assignment to self.config)" in process.log
        assert "Traceback" not in process.log


class TestHeartbeat:
    def test_it_is_given_while_it_serves(self, start: Start) -> None:
        process = start(timeout=2).serves()
        before = process.worker.tmp.last_update()
        process.wait(lambda: process.worker.tmp.last_update() > before)
        process.tell(signal.SIGTERM)
        assert process.code() == 0

    def test_a_subclass_decides_on_it(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            async def callback_notify(self) -> None:
                say("asked")
                await super().callback_notify()

        process = start(kind=Own, timeout=1).serves()
        process.wait_log("asked")
        process.tell(signal.SIGTERM)
        assert process.code() == 0

    def test_a_worker_whose_master_is_gone_leaves(self, start: Start) -> None:
        class Orphan(UvicornH11Worker):
            def init_process(self) -> None:
                self.ppid = 1
                self.cfg.set("timeout", 1)
                super().init_process()

        process = start(kind=Orphan)
        assert process.code() == 0
        assert process.slot.cause[0] == ends.ORPHANED
        assert "Parent changed, shutting down" in process.log

    def test_whoever_sets_alive_ends_it(self, start: Start) -> None:
        class Ends(UvicornH11Worker):
            def notify(self) -> None:
                super().notify()
                if self.own_server.started:
                    self.alive = False

        process = start(kind=Ends, timeout=1)
        assert process.code() == 0
        assert process.slot.left


class Reloader:
    """Stands in for Gunicorn's: a file has changed when there is one of the name `changed`."""

    def __init__(self, callback: Callable[[str], None], **_: Any) -> None:
        self._callback = callback

    def add_extra_file(self, path: str) -> None:
        say(f"watches {path}")

    def start(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not os.path.exists("changed"):
            time.sleep(0.01)
        self._callback("app.py")


class TestReload:
    """Under --reload, where Gunicorn's reloader sees that a file has changed."""

    @pytest.fixture(autouse=True)
    def _reloader(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(reloader_engines, "poll", Reloader)

    @pytest.mark.parametrize("when", ["import", "startup"])
    def test_what_can_not_be_started_is_shown_until_a_file_changes(self, start: Start, when: str) -> None:
        async def fails(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            raise KeyError("DATABASE")

        def load() -> Any:
            if when == "import":
                raise KeyError("DATABASE")
            return fails

        kind = UvicornH11Worker.configure(lifespan="on")
        process = start(load, kind, reload=True, reload_engine="poll", timeout=1).serves()
        status, page = process.get()
        assert status == 500
        assert b"KeyError: 'DATABASE'" in page
        assert "waiting for a change of its files" in process.log
        # The files that the failure leads through are watched, too.
        process.wait_log("watches .*test_process.py")
        Path("changed").touch()
        assert process.code() == 0
        assert process.slot.cause[0] == ends.CODE_CHANGED

    def test_a_request_does_not_hold_it_up(self, start: Start) -> None:
        process = start(reload=True, reload_engine="poll", graceful_timeout=60).serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            Path("changed").touch()
            assert process.code() == 0


class TestSubclasses:
    """What subclasses of uvicorn's worker do, and what is called for them."""

    def test_a_server_of_their_own_is_the_workers(self, start: Start) -> None:
        """Signals, the heartbeat and limits are about the newest one that is made of `self.config`."""

        class Own(UvicornH11Worker):
            async def _serve(self) -> None:
                self.config.app = self.wsgi
                await Server(config=self.config).serve(sockets=self.sockets)

        process = start(kind=Own, max_requests=2).serves()
        assert process.get() == (200, b"ok")
        assert process.get() == (200, b"ok")
        assert process.code() == 0
        assert process.slot.cause[0] == ends.MAX_REQUESTS


class _Patient(UvicornH11Worker):
    """As the command has it."""

    own_quiet_startup = 50.0


@pytest.mark.parametrize("kind", [UvicornH11Worker.configure(timeout_startup=50), _Patient])
def test_a_start_may_take_longer_than_a_heartbeat(start: Start, kind: Any) -> None:
    """With timeout_startup: the master's look at the file of the heartbeat finds it fresh until then."""

    def load() -> Any:
        say("loads")
        while not os.path.exists("go"):
            time.sleep(0.01)
        return app

    process = start(load, kind=kind, timeout=2)
    process.wait_log("loads")
    assert process.worker.tmp.last_update() > time.monotonic() + 20
    Path("go").touch()
    process.serves().wait(lambda: process.worker.tmp.last_update() < time.monotonic() + 1)
    process.tell(signal.SIGTERM)
    assert process.code() == 0


def test_an_application_that_leaves_in_order_while_it_is_loaded(start: Start) -> None:
    def load() -> Any:
        sys.exit(0)

    process = start(load)
    assert process.code() == 0
    assert "ERROR" not in process.log


def test_what_the_application_forks_finds_no_threads(start: Start) -> None:
    """A lock that one of them holds would be held for ever in the child; they come back with the next beat."""

    async def forks(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            pid = os.fork()
            if pid == 0:
                os._exit(threading.active_count())
            _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it ends at once
            assert os.waitstatus_to_exitcode(status) == 1
        await app(scope, receive, send)

    process = start(lambda: forks).serves()
    assert process.get() == process.get() == (200, b"ok")
    process.tell(signal.SIGTERM)
    assert process.code() == 0


@pytest.mark.parametrize("brief", [0.0, 3600.0])
def test_a_worker_that_fails_later_does_not_end_the_master(
    start: Start, monkeypatch: pytest.MonkeyPatch, brief: float
) -> None:
    """One that fails soon after its start would do so again and again."""
    monkeypatch.setattr(worker_module, "_BRIEF_SECONDS", brief)

    class Own(UvicornH11Worker):
        async def _serve(self) -> None:
            serving = asyncio.ensure_future(super()._serve())
            while not self.own_server.started:
                await asyncio.sleep(0.01)
            serving.cancel()
            await asyncio.wait([serving])
            raise RuntimeError("something of its own")

    process = start(kind=Own)
    # 70 is this test's own for what the master would log.
    assert process.code() == (BOOT_ERROR if brief else 70)
    assert "something of its own" in process.log
    assert process.slot.cause[0] == ends.CRASHED


def test_sockets_of_its_own_beside_those_of_the_master(start: Start) -> None:
    """With reuse_port Gunicorn opens some in each worker."""

    class Own(UvicornH11Worker):
        def init_process(self) -> None:
            self.sockets = sock.create_sockets(self.cfg, self.log)
            say(f"own {self.sockets[0].sock.getsockname()[1]}.")
            super().init_process()

    process = start(kind=Own, reuse_port=True).serves()
    assert process.get() == (200, b"ok")
    found = re.search(r"own (\d+)\.", process.log)
    assert found
    process.port = int(found[1])
    assert process.get() == (200, b"ok")
    process.tell(signal.SIGTERM)
    assert process.code() == 0
