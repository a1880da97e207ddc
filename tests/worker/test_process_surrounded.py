"""The worker as a process among what it has to do with: others of its master, subclasses, applications, logs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from gunicorn.errors import AppImportError

from tests.certificates import Site
from tests.worker.process import APP_ERROR, BOOT_ERROR, PATIENCE, Start, app, say, waits
from uvicorn_worker.board import ends
from uvicorn_worker.board.board import FAILED
from uvicorn_worker.worker import worker as worker_module
from uvicorn_worker.worker.offenders import Offenders
from uvicorn_worker.worker.worker import UvicornH11Worker

# Of threads of those that run the tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def fails() -> Any:
    raise KeyError("DATABASE")


def waits_and_fails() -> Any:
    waits()
    fails()


class TestSuccession:
    def test_it_stays_where_the_one_in_its_place_can_not_boot(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("uvicorn_worker.worker.succession.FIRST_PAUSE", 0.0)
        old = start().serves()
        new = start(waits_and_fails, before=old)
        old.tell(signal.SIGTERM)
        old.wait_log("serving on until a new worker has started")
        Path("loaded").touch()
        assert new.code() == 0
        old.wait_log("The new workers could not start: the old ones serve on")
        assert old.get() == (200, b"ok")
        # To the master it is the new one from now on, and told to leave it leaves.
        assert old.slot.age == new.age
        old.tell(signal.SIGTERM)
        assert old.code() == 0

    def test_of_several_that_fail_beside_one_that_serves_one_reports(self, start: Start) -> None:
        serving = start().serves()
        first = start(fails, before=serving)
        first.wait_log("Other workers serve on")
        second = start(fails, before=serving)
        second.wait(lambda: second.slot.state == FAILED)
        for each in (first, second):
            each.tell(signal.SIGTERM)
            assert each.code() == 0
        assert serving.log.count("The application can't be loaded") == 1
        serving.tell(signal.SIGTERM)
        assert serving.code() == 0

    def test_who_leaves_the_report_to_another_and_is_told_waits_no_longer(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_module, "_WAIT_FOR_MASTER", 3600.0)
        first = start(fails)
        assert first.code() == BOOT_ERROR
        second = start(fails, before=first)
        second.wait(lambda: second.slot.cause[0] == ends.NOT_BOOTED)
        second.tell(signal.SIGTERM)
        assert second.code() == 0


class TestSubclasses:
    def test_an_application_that_they_load_and_that_is_not_there(self, start: Start) -> None:
        def load() -> Any:
            raise AppImportError("no module named shop")

        class Own(UvicornH11Worker):
            def load_wsgi(self) -> None:
                self.wsgi = self.app.wsgi()

        process = start(load, Own)
        assert process.code() == APP_ERROR
        assert "The application can't be loaded: no module named shop" in process.log

    def test_what_is_listened_on_is_to_be_read(self, start: Start) -> None:
        """As uvicorn's worker has it, in the word `servers`."""

        class Own(UvicornH11Worker):
            async def callback_notify(self) -> None:
                say(f"listens {[each.sockets[0].getsockname()[1] for each in self.servers]}")
                await super().callback_notify()

        process = start(kind=Own, timeout=1).serves()
        process.wait_log(rf"listens \[{process.port}\]")
        process.tell(signal.SIGTERM)
        assert process.code() == 0


class TestHeartbeat:
    def test_who_is_looked_for_more_often_than_it_is_given(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a long timeout_notify, a worker whose master is gone does not wait for the next heartbeat."""
        monkeypatch.setattr(worker_module, "_HEARTBEAT", 0.05)

        class Orphan(UvicornH11Worker):
            async def _serve(self) -> None:
                asyncio.get_running_loop().call_later(0.2, setattr, self, "ppid", 1)
                await super()._serve()

        process = start(kind=Orphan.configure(timeout_notify=20))
        assert process.code() == 0
        assert process.slot.cause[0] == ends.ORPHANED

    def test_a_subclass_that_thinks_about_it_is_not_asked_again(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_module, "_HEARTBEAT", 0.02)

        class Slow(UvicornH11Worker):
            async def callback_notify(self) -> None:
                say("thinks")
                for _ in range(10):
                    await asyncio.sleep(0.02)
                say("has thought")
                await super().callback_notify()

        process = start(kind=Slow).serves()
        process.wait_log("(?s)has thought.*has thought")
        process.tell(signal.SIGTERM)
        assert process.code() == 0
        words = [line for line in process.log.splitlines() if line in ("thinks", "has thought")]
        assert words[:4] == ["thinks", "has thought"] * 2


class TestExit:
    def test_of_an_application_that_is_told_to_leave_is_none_of_its_own(self, start: Start) -> None:
        """A library that exits at the shutdown: the worker leaves as it was told, and not with the master's codes."""

        async def exits(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await app(scope, receive, send)
                return
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            asyncio.get_running_loop().call_soon(sys.exit, BOOT_ERROR)
            await asyncio.sleep(60)

        process = start(lambda: exits).serves()
        process.tell(signal.SIGTERM)
        assert process.code() == 1
        assert "outside of a request" not in process.log

    def test_of_a_child_of_the_application_is_the_childs_alone(self, start: Start) -> None:
        async def forks(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                pid = os.fork()
                if pid == 0:
                    sys.exit(5)
                _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it ends at once
                say(f"child {os.waitstatus_to_exitcode(status)}")
            await app(scope, receive, send)

        process = start(lambda: forks, timeout=0).serves()
        assert process.get() == process.get() == (200, b"ok")
        assert process.log.count("child 5") == 2
        process.tell(signal.SIGTERM)
        assert process.code() == 0


class TestApplication:
    def test_a_handler_of_its_own_is_called_as_well(self, start: Start) -> None:
        """Set at the import, it has been put aside while the server ran."""

        def load() -> Any:
            signal.signal(signal.SIGTERM, lambda sig, frame: say("its own handler"))
            return app

        process = start(load).serves()
        process.tell(signal.SIGTERM)
        assert process.code() == 0
        assert process.log.count("its own handler") == 1

    def test_what_has_blocked_the_loop_twice_is_refused(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Offenders, "_of_master", None)
        process = first = start(kind=UvicornH11Worker.configure(block_repeat_offenders=3600)).serves()
        for _ in range(2):
            with process.asks("/block") as client:
                process.wait_log(rf"(?s)blocks(.*blocks){{{process.age - 1}}}")
                process.tell(signal.SIGABRT)
                assert process.code() == 1
                assert client.getresponse().status == 503
            process = start(kind=UvicornH11Worker.configure(block_repeat_offenders=3600), before=process).serves()
        with process.asks("/block") as client:
            assert client.getresponse().status == 503
        assert first.log.count("blocks\n") == 2
        assert process.get() == (200, b"ok")
        process.tell(signal.SIGTERM)
        assert process.code() == 0

    def test_certificates_are_read_by_the_master(self, start: Start, tmp_path: Path) -> None:
        """A worker may not be allowed to, once it has given up its privileges."""
        site = Site(tmp_path)

        def load() -> Any:
            site.cert.unlink()
            site.key.unlink()
            return app

        process = start(load, certfile=str(site.cert), keyfile=str(site.key)).serves()
        context = ssl.create_default_context(cafile=site.ca)
        with (
            socket.create_connection(("127.0.0.1", process.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        process.tell(signal.SIGTERM)
        assert process.code() == 0


class TestLoop:
    def test_what_an_application_leaves_to_the_loop_is_logged(self, start: Start) -> None:
        """But not an exit, which ends the worker: that says all."""

        async def reports(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                report = asyncio.get_running_loop().call_exception_handler
                report({"message": "left behind", "exception": SystemExit(3)})
                report({"message": "gone wrong", "exception": KeyError("DATABASE")})
            await app(scope, receive, send)

        def load() -> Any:
            logging.getLogger("asyncio").addHandler(logging.StreamHandler())
            return reports

        process = start(load).serves()
        assert process.get() == (200, b"ok")
        process.wait_log("gone wrong")
        assert "left behind" not in process.log
        process.tell(signal.SIGTERM)
        assert process.code() == 0

    def test_which_one_serves_is_said_where_the_application_has_decided(self, start: Start) -> None:
        pytest.importorskip("uvloop")

        def load() -> Any:
            # As applications of an older style do.
            asyncio.get_event_loop().call_soon(say, "called")
            return app

        process = start(load, UvicornH11Worker.configure(loop="auto")).serves()
        process.wait_log("called")
        assert process.get() == (200, b"ok")
        assert "asyncio's loop serves, not uvloop's" in process.log
        process.tell(signal.SIGTERM)
        assert process.code() == 0


class TestLogs:
    def test_a_log_config_that_the_worker_can_not_apply_is_one_line(self, start: Start) -> None:
        config = {"version": 1, "handlers": {"own": {"class": "no.such.Handler"}}, "root": {"handlers": ["own"]}}
        process = start(kind=UvicornH11Worker.configure(log_config=config))
        assert process.code() == BOOT_ERROR
        assert "option log_config" in process.log
        assert "Traceback" not in process.log

    def test_a_file_that_can_not_be_opened_again(self, start: Start) -> None:
        """Whoever rotates logs has taken the folder away: what is logged goes on to the old file."""
        Path("logs").mkdir()
        process = start(accesslog=str(Path("logs", "access").absolute())).serves()
        Path("logs").rename("logs.1")
        process.tell(signal.SIGUSR1)
        process.wait_log("The log .*logs/access can't be reopened and goes on as it is: No such file")
        assert process.get() == (200, b"ok")
        process.tell(signal.SIGTERM)
        assert process.code() == 0
