"""What the arbiter makes of Gunicorn's own steps: settings, signals, and the ends of its workers."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.workers.sync import SyncWorker

from tests.records import records_of
from uvicorn_worker.board import board as module
from uvicorn_worker.board.board import Board
from uvicorn_worker.core.config import Config
from uvicorn_worker.master import Application, Arbiter
from uvicorn_worker.master.arbiter import _status_of

# Of threads of those that run the tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture(autouse=True)
def _own_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(module.Board, "_of_master", None)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that all workers got."""
    found: list[int] = []
    monkeypatch.setattr(GunicornArbiter, "kill_workers", lambda self, sig: found.append(sig))
    return found


class Worker(SyncWorker):
    """One of another package, but for the one option that the arbiter asks for."""

    surge: ClassVar[int | None] = None

    @classmethod
    def own_config_for(cls, cfg: Any) -> Config:
        return Config(app, reload_surge=cls.surge)


def arbiter(worker_class: Any = Worker, **settings: Any) -> Any:
    return Arbiter(Application(app, {"worker_class": worker_class, **settings}))


def test_it_is_known_on_the_board_as_one_that_replaces_its_workers() -> None:
    assert not Board.of_master().managed
    made = arbiter()
    assert Board.of_master().managed
    assert made._board is Board.of_master()


@pytest.mark.parametrize("surge", [None, 2])
def test_how_many_boot_at_a_time_is_an_option_of_the_worker_class(surge: int | None) -> None:
    made = arbiter(type("Own", (Worker,), {"surge": surge}), workers=5)
    started: list[int] = []
    made.spawn_worker = lambda: started.append(1)
    made._start(5, 0)
    assert len(started) == (surge or 5)
    started.clear()
    made._start(5, 1)
    assert len(started) == (1 if surge else 5)


def test_workers_of_another_package_have_no_such_option() -> None:
    made = arbiter("sync")
    assert made._surge is None


class TestStops:
    @pytest.fixture
    def stopped(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """How it was stopped: gracefully or not."""
        found: list[bool] = []
        monkeypatch.setattr(GunicornArbiter, "stop", lambda self, graceful=True: found.append(graceful))
        return found

    def test_int_is_quick_as_gunicorns(self, stopped: list[bool]) -> None:
        with pytest.raises(StopIteration):
            arbiter().handle_int()
        assert stopped == [False]

    def test_ctrl_c_of_the_command_is_graceful(
        self, stopped: list[bool], killed: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And a second one makes it quick, also in versions of Gunicorn that look at no signal while they wait."""
        heard: list[int] = []
        monkeypatch.setattr(GunicornArbiter, "signal", lambda self, sig, frame: heard.append(sig))
        made = arbiter()
        made.app.drains_on_int = True
        made.signal(signal.SIGINT, None)
        assert killed == []
        with pytest.raises(StopIteration):
            made.handle_int()
        assert stopped == [True]
        made.signal(signal.SIGHUP, None)
        assert killed == []
        made.signal(signal.SIGINT, None)
        assert killed == [signal.SIGQUIT]
        assert heard == [signal.SIGINT, signal.SIGHUP, signal.SIGINT]


@pytest.fixture
def child() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Fork a process that does something; gives its id when it has ended, before it is reaped."""
    made: list[int] = []

    def fork(does: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            does()
            os._exit(0)
        made.append(pid)
        deadline = time.monotonic() + 10
        while _status_of(pid) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return pid

    yield fork
    for pid in made:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass


class TestEnds:
    @pytest.fixture(autouse=True, params=[True, False], ids=["waitid", "none"])
    def _has_waitid(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """PyPy has none, and Linux tells it in another way."""
        if request.param and not hasattr(os, "waitid"):
            pytest.skip("this Python has no waitid")
        if not request.param:
            if not Path("/proc/self/stat").exists():
                pytest.skip("needs /proc")
            monkeypatch.delattr(os, "waitid", raising=False)

    def test_of_processes(self, child: Callable[..., int]) -> None:
        pid = child(lambda: os._exit(7))
        assert _status_of(pid) == 7
        # It is still there for Gunicorn to see.
        assert _status_of(pid) == 7
        assert _status_of(child(lambda: os.kill(os.getpid(), signal.SIGKILL))) == -signal.SIGKILL
        assert _status_of(os.getppid()) is None
        # There is none with this number (proc(5), pid_max).
        assert _status_of(2**22 + 1) is None

    def test_of_one_that_lives(self) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            os._exit(0)
        try:
            assert _status_of(pid) is None
        finally:
            os.write(writing, b"x")
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)

    def test_a_worker_that_was_killed_is_told_of_and_taken_off_the_list(self, child: Callable[..., int]) -> None:
        made = arbiter(workers=1)
        pid = child(lambda: os.kill(os.getpid(), signal.SIGKILL))

        tmp = SimpleNamespace(close=lambda: None)
        made.WORKERS = {pid: SimpleNamespace(age=1, cfg=made.cfg, tmp=tmp)}
        made._told = {pid, 1}
        slot = made._board.add(1)
        assert slot is not None
        slot.pid = pid
        logging.getLogger("gunicorn.error").setLevel(logging.INFO)
        with records_of("gunicorn.error") as records:
            made.reap_workers()
        assert made.WORKERS == {}
        assert made._told == set()
        assert any(f"{pid}" in line and "KILL" in line for line in records.lines), records.lines


def test_gunicorns_figures_are_of_a_look_at_which_nobody_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start or stop workers by itself otherwise, and tell the hook nworkers_changed."""
    changed: list[Any] = []
    made = arbiter(workers=3, nworkers_changed=lambda server, new, old: changed.append((new, old)))
    changed.clear()
    seen: list[int] = []
    monkeypatch.setattr(GunicornArbiter, "manage_workers", lambda self: seen.append(self.num_workers))
    made.WORKERS = {1: None}
    made._report()
    assert seen == [1]
    assert made.num_workers == 3
    assert changed == []


def test_the_environment_of_before_is_back_where_the_settings_can_not_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OF_THE_SETTINGS", "other")
    made = arbiter(raw_env=["OF_THE_SETTINGS=before"])
    os.environ["OF_THE_SETTINGS"] = "after"

    def reload(self: Any) -> None:
        raise RuntimeError("worker_class: no such thing")

    monkeypatch.setattr(GunicornArbiter, "reload", reload)
    with records_of("gunicorn.error") as records:
        made.reload()
    assert os.environ["OF_THE_SETTINGS"] == "before"
    assert "The settings can't be loaded; going on with those of before" in records.lines[-1]
