"""Whom the master starts and tells to leave, by what stands on the board; no process is forked here."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter as GunicornArbiter

from uvicorn_worker.board import board as module
from uvicorn_worker.board.board import FAILED, SERVING, Board, Slot
from uvicorn_worker.master.arbiter import Arbiter


@dataclass
class Worker:
    age: int


class Master(Arbiter):
    """Starts workers on paper, and notes whom it tells to leave."""

    # A property of Gunicorn's, which calls a hook.
    num_workers = 0

    def __init__(self, board: Board, workers: int, surge: int | None = None) -> None:
        self._reloading = self._forked = False
        self._old_age = 0
        self._told = set()
        self._reaping, self._reaps_due = False, []
        self._short = self._stopping = self._dirty_stays = False
        self._surge = surge
        self._board = board
        self.WORKERS: dict[int, Any] = {}
        self.num_workers = workers
        self.worker_age = 0
        self.left: list[int] = []

    def spawn_worker(self) -> int:
        """The process id of a worker is a hundred times its age."""
        self.worker_age += 1
        slot = self._board.add(self.worker_age)
        assert slot is not None
        slot.pid = pid = self.worker_age * 100
        self.WORKERS[pid] = Worker(self.worker_age)
        return pid

    def kill_worker(self, pid: int, sig: int) -> None:
        assert sig == signal.SIGTERM
        self.left.append(pid)

    def _report(self) -> None:
        """Gunicorn's metrics need its settings."""

    def slot(self, pid: int) -> Slot:
        return next(slot for slot in self._board if slot.pid == pid)

    def serve(self, *pids: int) -> None:
        for pid in pids:
            self.slot(pid).state = SERVING
        self.manage_workers()

    def gone(self, pid: int) -> None:
        del self.WORKERS[pid]
        self._told.discard(pid)
        self.manage_workers()

    def hup(self) -> None:
        self._old_age = self.worker_age
        self.manage_workers()


@pytest.fixture
def master() -> Master:
    """Two workers that serve."""
    found = Master(Board(), 2)
    found.manage_workers()
    found.serve(100, 200)
    return found


def test_as_many_as_there_should_be_are_started(master: Master) -> None:
    assert sorted(master.WORKERS) == [100, 200]
    assert master.left == []


def test_hup_tells_an_old_one_for_each_new_one_that_serves(master: Master) -> None:
    master.hup()
    assert sorted(master.WORKERS) == [100, 200, 300, 400]
    assert master.left == []
    master.serve(400)
    assert master.left == [100]
    master.manage_workers()
    assert master.left == [100]
    master.serve(300)
    assert master.left == [100, 200]
    master.gone(100)
    master.gone(200)
    assert sorted(master.WORKERS) == [300, 400]


def test_one_after_the_other() -> None:
    master = Master(Board(), 3, surge=1)
    master.manage_workers()
    assert sorted(master.WORKERS) == [100]
    for pid in (100, 200, 300):
        master.serve(pid)
    assert sorted(master.WORKERS) == [100, 200, 300]
    master.hup()
    assert sorted(master.WORKERS) == [100, 200, 300, 400]
    master.serve(400)
    assert master.left == [100]
    assert sorted(master.WORKERS) == [100, 200, 300, 400, 500]


def test_one_that_can_not_boot_is_not_taken_for_one_that_serves(master: Master) -> None:
    master.hup()
    master.slot(300).state = master.slot(400).state = FAILED
    master.manage_workers()
    assert master.left == []
    assert len(master.WORKERS) == 4
    master.gone(300)
    assert sorted(master.WORKERS) == [100, 200, 400, 500]


def test_those_that_serve_stay_when_a_reload_follows_one_that_has_failed(master: Master) -> None:
    master.hup()
    master.slot(300).state = master.slot(400).state = FAILED
    master.hup()
    # The failed ones are of no use; the first ones are what serves.
    assert master.left == [300, 400]
    assert sorted(master.WORKERS) == [100, 200, 300, 400, 500, 600]
    master.serve(500, 600)
    assert master.left == [300, 400, 100, 200]


def test_a_reload_while_the_workers_of_another_one_boot(master: Master) -> None:
    master.hup()
    master.serve(300)
    assert master.left == [100]
    master.hup()
    assert master.left == [100, 400]
    master.serve(500)
    assert master.left == [100, 400, 200]
    master.serve(600)
    assert master.left == [100, 400, 200, 300]


def test_fewer_while_one_boots(master: Master) -> None:
    """TTIN and TTOU at once: who serves is not told to leave for one that does not yet."""
    master.num_workers = 3
    master.manage_workers()
    assert sorted(master.WORKERS) == [100, 200, 300]
    master.num_workers = 2
    master.manage_workers()
    assert master.left == [300]


def test_one_that_asks_to_go_is_replaced_first(master: Master) -> None:
    master.slot(100).asks_to_go = True
    master.manage_workers()
    assert sorted(master.WORKERS) == [100, 200, 300]
    assert master.left == []
    master.serve(300)
    assert master.left == [100]


def test_fewer_and_more(master: Master) -> None:
    master.num_workers = 1
    master.manage_workers()
    assert master.left == [100]
    master.gone(100)
    master.num_workers = 3
    master.manage_workers()
    assert sorted(master.WORKERS) == [200, 300, 400]


def test_workers_of_another_package_have_no_slot_and_serve_at_once() -> None:
    master = Master(Board(), 1)
    master.WORKERS[7] = Worker(1)
    master.worker_age = 1
    master.hup()
    assert sorted(master.WORKERS) == [7, 200]
    assert master.left == []
    master.serve(200)
    assert master.left == [7]


def test_reload_forks_nobody_by_itself(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []

    def reload(self: Any) -> None:
        steps.append(Arbiter.spawn_worker(self))
        self.manage_workers()
        # Gunicorn 27 waits for the old ones here; that is not for this master.
        self.reap_workers()
        steps.append("waited")

    monkeypatch.setattr(GunicornArbiter, "reload", reload)
    master.app = type("App", (), {"cfg": None})()
    master.reload()
    assert steps == [None]
    assert sorted(master.WORKERS) == [100, 200, 300, 400]


def test_a_fork_that_fails_is_tried_again(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit of processes, or without memory for one more: those that serve stay, and the service goes on."""
    lines: list[str] = []
    room = 0

    def spawn_worker(self: Any) -> int | None:
        if room:
            return Master.spawn_worker(self)
        self.worker_age += 1
        self._board.add(self.worker_age)
        raise BlockingIOError(errno.EAGAIN, "No room")

    def note(line: str, *arguments: object) -> None:
        lines.append(line % arguments)

    monkeypatch.setattr(GunicornArbiter, "spawn_worker", spawn_worker)
    master.log = type("Log", (), {"error": staticmethod(note), "info": staticmethod(note)})()
    assert [Arbiter.spawn_worker(master), Arbiter.spawn_worker(master)] == [None, None]
    assert [slot.buried for slot in master._board] == [False, False, True, True]
    assert sorted(master.WORKERS) == [100, 200]
    room = 1
    assert Arbiter.spawn_worker(master) == 500
    assert lines == [
        f"A worker can't be started for now: [Errno {errno.EAGAIN}] No room. It is tried again each second.",
        "Workers can be started again.",
    ]
    # The first one of all: a start that has failed.
    room = master.worker_age = 0
    with pytest.raises(BlockingIOError):
        Arbiter.spawn_worker(master)


def test_one_that_was_forked_just_before_is_not_taken_for_it(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker writes its number on the board by itself, a moment after the fork."""

    def spawn_worker(self: Any) -> int:
        self.worker_age += 1
        slot = self._board.add(self.worker_age)
        if self.worker_age == 4:
            raise BlockingIOError(errno.EAGAIN, "No room")
        assert slot is not None
        self.WORKERS[300] = Worker(self.worker_age)
        return 300

    monkeypatch.setattr(GunicornArbiter, "spawn_worker", spawn_worker)
    master.log = type("Log", (), {"error": lambda *_: None})()
    assert [Arbiter.spawn_worker(master), Arbiter.spawn_worker(master)] == [300, None]
    assert [slot.buried for slot in master._board] == [False, False, False, True]


def test_the_dirty_arbiter_goes_when_the_workers_have(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def kill_dirty_arbiter(self: Any, sig: int) -> None:
        told.append(sig)

    def reap_dirty_arbiter(self: Any) -> None:
        pass

    monkeypatch.setattr(GunicornArbiter, "kill_dirty_arbiter", kill_dirty_arbiter, raising=False)
    monkeypatch.setattr(GunicornArbiter, "reap_dirty_arbiter", reap_dirty_arbiter, raising=False)
    # A reload is none of a stop's.
    master.kill_dirty_arbiter(signal.SIGHUP)
    master._stopping = True
    master.kill_dirty_arbiter(signal.SIGTERM)
    master.reap_dirty_arbiter()
    assert told == [signal.SIGHUP]
    # One that can't wait does not.
    master.kill_dirty_arbiter(signal.SIGQUIT)
    assert told == [signal.SIGHUP, signal.SIGQUIT]
    master.kill_dirty_arbiter(signal.SIGTERM)
    master.WORKERS.clear()
    master.reap_dirty_arbiter()
    master.reap_dirty_arbiter()
    assert told == [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM]


def test_workers_that_end_while_one_is_reaped(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Gunicorn 23 has it: each end is a signal, whose handler comes in between and reaps."""
    ended, asked, told = {100}, 0, 0

    def status_of(pid: int) -> int | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            ended.add(200)
            master.reap_workers()
        return 0 if pid in ended else None

    def reap(self: Any) -> None:
        for pid in sorted(ended & set(self.WORKERS)):
            del self.WORKERS[pid]
            # And once more, behind the last look.
            master.reap_workers()

    def tell(log: Any, timeout: float, status_of: Any) -> None:
        nonlocal told
        told += 1
        # What is known of one that has gone is known when it is told.
        assert told > 1 or [status_of(100), status_of(200)] == [0, 0]

    monkeypatch.setattr("uvicorn_worker.master.arbiter._status_of", status_of)
    monkeypatch.setattr("uvicorn_worker.master.arbiter.tell_deaths", tell)
    monkeypatch.setattr(GunicornArbiter, "reap_workers", reap)
    master.log, master.cfg = None, type("Cfg", (), {"timeout": 30})()
    master.reap_workers()
    assert master.WORKERS == {}
    assert told == 2
    assert not master._reaping
    assert master._reaps_due == []


def test_settings_that_can_not_be_loaded_change_nothing(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    before = type("Cfg", (), {"env": {}})()
    master.app = type("App", (), {"cfg": before})()
    master.log = type("Log", (), {"error": lambda self, text, *args: said.append(text % args)})()
    taken: list[object] = []
    monkeypatch.setattr(Arbiter, "setup", lambda self, app: taken.append(app.cfg))

    def reload(self: Any) -> None:
        self.app.cfg = "half of it"
        raise SystemExit(1)

    monkeypatch.setattr(GunicornArbiter, "reload", reload)
    master.reload()
    assert taken == [before]
    assert sorted(master.WORKERS) == [100, 200]
    assert said == ["The settings can't be loaded; going on with those of before: SystemExit(1)"]


def test_the_board_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Board, "_of_master", None)
    assert Board.of_master() is Board.of_master()
