"""What the worker does at each signal: as a process that is told once, twice, too early, or by Ctrl+C."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gunicorn.errors import AppImportError

from tests.worker.process import BOOT_ERROR, Start, app, say, slow_to_end, waits
from uvicorn_worker.board import ends
from uvicorn_worker.board.board import ENDED, TOLD, Board
from uvicorn_worker.board.ends import bury
from uvicorn_worker.server import Server
from uvicorn_worker.worker import by_hand
from uvicorn_worker.worker import exit as end
from uvicorn_worker.worker import worker as worker_module
from uvicorn_worker.worker.worker import UvicornH11Worker

# Of threads of those that run the tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def counts(worker: Any) -> None:
    """For the hook worker_int."""
    say("worker_int")


class TestEach:
    def test_term_is_a_graceful_stop(self, start: Start) -> None:
        process = start().serves()
        assert process.get() == (200, b"ok")
        assert "Ready in" in process.log
        process.tell(signal.SIGTERM)
        assert process.code() == 0
        assert process.slot.state in (TOLD, ENDED)
        assert process.slot.left
        assert process.slot.figures["http11_2xx"] == 1

    @pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT])
    def test_int_and_quit_cut_what_runs(self, start: Start, sig: int) -> None:
        process = start().serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            process.tell(sig)
            assert process.code() == 0
        assert process.slot.cause[0] == ends.TOLD_TO

    def test_usr2_says_what_is_in_flight_and_usr1_writes_it_to_the_new_file(self, start: Start) -> None:
        process = start().serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            process.output.rename(process.output.with_name("log.1"))
            process.output.touch()
            process.tell(signal.SIGUSR1, signal.SIGUSR2)
            process.wait_log("GET /wait")
            process.tell(signal.SIGQUIT)
            assert process.code() == 0

    def test_hup_and_winch_are_the_masters(self, start: Start) -> None:
        process = start().serves()
        process.tell(signal.SIGHUP, signal.SIGWINCH)
        assert process.get() == (200, b"ok")
        process.tell(signal.SIGTERM)
        assert process.code() == 0

    def test_abrt_says_what_blocks_the_loop(self, start: Start) -> None:
        process = start().serves()
        with process.asks("/block") as client:
            process.wait_log("blocks")
            process.tell(signal.SIGABRT)
            assert process.code() == 1
            # Its client is told, in the last moment.
            assert client.getresponse().status == 503
        assert process.slot.cause[0] == ends.BLOCKED
        assert "GET /block" in process.log

    def test_told_before_it_could_hear(self, start: Start) -> None:
        """It was loading its application, and leaves without having served."""

        def load() -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return app

        process = start(load)
        assert process.code() == 0
        assert "ERROR" not in process.log


class TestHooks:
    def test_worker_int_is_called(self, start: Start) -> None:
        def worker_int(worker: Any) -> None:
            say(f"int after {worker.nr}")

        process = start(worker_int=worker_int).serves()
        assert process.get() == process.get() == (200, b"ok")
        process.tell(signal.SIGINT)
        assert process.code() == 0
        # The second is perhaps answered, and not counted yet.
        assert re.search("int after [12]", process.log)

    def test_worker_abort_may_say_how_it_ends_but_not_end_the_master(self, start: Start) -> None:
        def worker_abort(worker: Any) -> None:
            sys.exit(BOOT_ERROR)

        process = start(worker_abort=worker_abort, timeout=0).serves()
        with process.asks("/block"):
            process.wait_log("blocks")
            process.tell(signal.SIGABRT)
            assert process.code() == 1

    def test_quit_calls_their_handle_exit(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            def handle_exit(self, sig: int, frame: Any) -> None:
                say(f"told {sig}")
                super().handle_exit(sig, frame)

        process = start(kind=Own).serves()
        process.tell(signal.SIGQUIT)
        assert process.code() == 0
        assert f"told {int(signal.SIGQUIT)}" in process.log


class TestTwice:
    @pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT])
    def test_the_second_quick_stop_is_the_first(self, start: Start, sig: int) -> None:
        """The hook is called once, and the shutdown of the application goes on."""
        process = start(lambda: slow_to_end, worker_int=counts).serves()
        process.tell(sig)
        process.wait_log("shuts down")
        process.tell(sig)
        Path("go").touch()
        assert process.code() == 0
        assert process.log.count("worker_int") == 1

    def test_the_first_int_may_be_graceful(self, start: Start) -> None:
        """As Ctrl+C of the command is: the second one cuts what still runs."""

        class Drains(UvicornH11Worker):
            own_drains_on_int = True

        process = start(kind=Drains, worker_int=counts).serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            process.tell(signal.SIGINT)
            process.wait(lambda: process.slot.cause[0] == ends.TOLD_TO)
            assert "worker_int" not in process.log
            process.tell(signal.SIGINT)
            assert process.code() == 0
        assert process.log.count("worker_int") == 1

    def test_ctrl_c_and_the_quit_that_the_master_sends_for_it_are_one(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("uvicorn_worker.worker.by_hand.in_foreground", lambda: True)
        process = start(lambda: slow_to_end, worker_int=counts).serves()
        process.tell(signal.SIGINT)
        process.wait_log("shuts down")
        assert "worker_int" not in process.log
        process.tell(signal.SIGQUIT)
        process.wait_log("worker_int")
        Path("go").touch()
        assert process.code() == 0

    def test_term_while_it_is_put_off(self, start: Start) -> None:
        """It is put off by the first one, and the second says nothing new."""
        old = start().serves()
        new = start(waits, before=old)
        old.tell(signal.SIGTERM)
        old.wait_log("serving on until a new worker has started")
        old.tell(signal.SIGTERM)
        assert old.get() == (200, b"ok")
        new.wait_log("loads")
        # The one for which it was to go is told to leave as well: there is nobody to wait for.
        new.tell(signal.SIGTERM)
        assert old.code() == 0
        Path("loaded").touch()
        assert new.code() == 0
        assert old.log.count("serving on until a new worker has started") == 1


class TestEarly:
    def test_before_its_handlers_are_set(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            def init_signals(self) -> None:
                os.kill(os.getpid(), signal.SIGTERM)
                super().init_signals()

        process = start(kind=Own)
        assert process.code() == 0
        assert "ERROR" not in process.log
        assert "Ready in" not in process.log

    @pytest.mark.parametrize(
        "error", [KeyError("DATABASE"), AppImportError("no module named shop"), SystemExit(BOOT_ERROR)], ids=repr
    )
    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGQUIT])
    def test_an_application_that_can_not_be_loaded_then_is_no_failure(
        self, start: Start, sig: int, error: BaseException
    ) -> None:
        """A master that stops would end with its code, and Gunicorn 27's with a traceback."""

        def load() -> Any:
            os.kill(os.getpid(), sig)
            raise error

        process = start(load)
        assert process.code() == 0
        assert "ERROR" not in process.log
        (gone,) = bury(Board.of_master())
        assert gone.cause == "told"
        assert gone.is_wished

    def test_a_subclass_that_exits_then(self, start: Start) -> None:
        class Own(UvicornH11Worker):
            def init_signals(self) -> None:
                os.kill(os.getpid(), signal.SIGTERM)
                sys.exit(BOOT_ERROR)

        process = start(kind=Own)
        assert process.code() == 0
        assert "ERROR" not in process.log

    def test_before_a_subclass_makes_its_server(self, start: Start) -> None:
        """What the server before it was told counts for it, too."""

        class Own(UvicornH11Worker):
            async def _serve(self) -> None:
                os.kill(os.getpid(), signal.SIGTERM)
                self.config.app = self.wsgi
                await Server(config=self.config).serve(sockets=self.sockets)

        process = start(kind=Own)
        assert process.code() == 0
        assert "Ready in" not in process.log

    def test_ctrl_c_while_the_application_is_loaded_by_a_handler_of_its_own(self, start: Start) -> None:
        """KeyboardInterrupt is no failure of the application."""

        def load() -> Any:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

        process = start(load)
        # 70 is this test's own for what leaves the worker: KeyboardInterrupt, as with Gunicorn's other workers.
        assert process.code() == 70
        assert "The application can't be loaded" not in process.log


class TestCtrlC:
    """The terminal interrupts master and worker; the master's word may come in the middle of the handler of INT."""

    @pytest.mark.parametrize(("always", "of_master"), [(True, signal.SIGTERM), (False, signal.SIGQUIT)])
    def test_the_masters_word_for_it_does_not_cut(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, always: bool, of_master: signal.Signals
    ) -> None:
        class Own(UvicornH11Worker):
            own_drains_on_int = always

            def handle_quit(self, sig: int, frame: Any) -> None:
                if sig == signal.SIGINT and not self.own_server.should_exit:
                    signal.raise_signal(of_master)
                super().handle_quit(sig, frame)

        monkeypatch.setattr(by_hand, "in_foreground", lambda: True)
        process = start(kind=Own).serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            process.tell(signal.SIGINT)
            process.wait_log("Waiting for 1 request")
            process.tell(signal.SIGINT)
            assert process.code() == 0
        assert "Cutting what is left" in process.log

    def test_a_quit_alone_cuts(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(by_hand, "in_foreground", lambda: True)
        process = start().serves()
        with process.asks("/wait"):
            process.wait_log("waits")
            process.tell(signal.SIGQUIT)
            assert process.code() == 0
        assert "Waiting for 1 request" not in process.log

    def test_another_one_while_the_loop_ends_is_too_late(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        close_loop = end.close_loop

        def closes(*given: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            close_loop(*given)
            say("closed")

        monkeypatch.setattr(worker_module, "close_loop", closes)
        process = start().serves()
        process.tell(signal.SIGTERM)
        assert process.code() == 0
        assert "closed" in process.log


def test_term_is_put_off_while_the_one_in_its_place_boots(start: Start, tmp_path: Path) -> None:
    """At HUP the master tells the old workers at once; who connects meanwhile is answered."""
    go = tmp_path / "go"

    def load() -> Any:
        while not go.exists():
            time.sleep(0.01)
        return app

    old = start().serves()
    new = start(load, before=old)
    old.tell(signal.SIGTERM)
    old.wait_log("serving on until a new worker has started")
    assert old.get() == (200, b"ok")
    go.touch()
    assert old.code() == 0
    assert new.get() == (200, b"ok")
    new.tell(signal.SIGTERM)
    assert new.code() == 0
