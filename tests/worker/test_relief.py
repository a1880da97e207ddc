"""How a worker gets another one in its place from a master that knows only TTIN, TTOU and HUP."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast

import pytest

from uvicorn_worker.board.board import SERVING, TOLD, Board, Slot
from uvicorn_worker.worker.relief import GRANTED, HEARD_SECONDS, NOBODY, THANKED, Relief


class Master:
    """Gets signals and heeds them when it is asked to; its process is this one."""

    def __init__(self) -> None:
        self.board = Board()
        self.relief = Relief()
        self.signals: list[int] = []
        self.wanted = 0
        self.age = 0
        self.now = 1000.0
        self.later: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def made(self) -> Slot:
        self.age += 1
        slot = self.board.add(self.age)
        assert slot is not None
        slot.pid = os.getpid()
        self.relief.worker_made()
        return slot

    def serves(self) -> Slot:
        slot = self.made()
        slot.state = SERVING
        return slot

    def heed(self) -> list[int]:
        taken, self.signals[:] = list(self.signals), []
        self.wanted += taken.count(signal.SIGTTIN) - taken.count(signal.SIGTTOU)
        return taken

    # As the event loop of a worker.

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        self.later.append((callback, args))

    def turn(self) -> None:
        calls, self.later = self.later, []
        for callback, args in calls:
            callback(*args)

    def seek(self, slot: Slot, relief: Relief | None = None) -> list[str]:
        left: list[str] = []
        (relief or self.relief).seek(cast("Any", self), self.board, slot, lambda: left.append("left"))
        return left

    def another(self) -> Relief:
        """The same as another worker has it, after a fork: locks are by process, so this one has none."""
        other = object.__new__(Relief)
        other.__dict__.update(self.relief.__dict__, _has_lock=False)
        return other


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    before = {sig: signal.signal(sig, lambda *args: None) for sig in (signal.SIGTTIN, signal.SIGTTOU)}
    found = Master()
    monkeypatch.setattr(Relief, "_of_master", found.relief)
    monkeypatch.setattr(os, "getppid", os.getpid)
    monkeypatch.setattr(os, "kill", lambda pid, sig: found.signals.append(sig))
    monkeypatch.setattr(time, "monotonic", lambda: found.now)
    # What the board says of processes and times is its own affair.
    monkeypatch.setattr(Slot, "alive", True)
    monkeypatch.setattr(Slot, "started", property(lambda slot: 1001.0 if slot.age > 1 else 999.0))
    yield found
    for sig, handler in before.items():
        signal.signal(sig, handler)


def test_one_more_and_then_one_less(master: Master) -> None:
    old = master.serves()
    assert master.seek(old) == []
    assert master.heed() == [signal.SIGTTIN]
    master.turn()
    assert master.heed() == []
    young = master.made()
    assert master.relief._state == GRANTED
    master.turn()
    assert master.heed() == []
    young.state = SERVING
    master.turn()
    # The master tells the oldest.
    assert master.heed() == [signal.SIGTTOU]
    assert old.age == 0
    master.turn()
    assert master.heed() == []
    old.state = TOLD
    master.relief.told()
    assert master.relief._state == NOBODY
    assert master.heed() == []
    # Nothing is looked at any more.
    master.turn()
    assert master.later == []
    assert master.wanted == 0


def test_one_after_the_other(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = master.serves(), master.serves()
    other = master.another()
    monkeypatch.setattr(other, "_take_lock", lambda: False)
    master.seek(first)
    master.seek(second, other)
    assert master.heed() == [signal.SIGTTIN]
    monkeypatch.undo()


def test_told_by_somebody_else_meanwhile(master: Master) -> None:
    """An operator's TERM, or a reload that the master heeds after TTIN: there is one too many."""
    old = master.serves()
    master.seek(old)
    master.made()
    master.relief.told()
    assert master.heed() == [signal.SIGTTIN, signal.SIGTTOU]
    assert master.relief._state == NOBODY


def test_a_reload_meanwhile_counts_anew(master: Master) -> None:
    old = master.serves()
    master.seek(old)
    master.made()
    master.heed()
    Relief.settings_read()
    assert master.relief._state == NOBODY
    master.relief.told()
    assert master.heed() == []


def test_one_of_the_new_ones_asks_again_after_a_reload(master: Master) -> None:
    old = master.serves()
    master.seek(old)
    master.made()
    master.heed()
    Relief.settings_read()
    master.turn()
    assert not master.relief._has_lock
    master.turn()
    assert master.heed() == [signal.SIGTTIN]


def test_a_reload_before_one_was_made(master: Master) -> None:
    """The master may have heard TTIN already, and waited for one that leaves: it is never asked for one too few."""
    old = master.serves()
    master.seek(old)
    Relief.settings_read()
    assert master.relief._state == NOBODY
    master.made()
    master.relief.told()
    assert master.heed() == [signal.SIGTTIN]


def test_a_reload_between_the_thanks_and_the_end(master: Master) -> None:
    """TTOU stands behind it in the queue, and would be one too few."""
    old = master.serves()
    master.seek(old)
    master.serves()
    master.turn()
    assert master.relief._state == THANKED
    master.heed()
    Relief.settings_read()
    assert master.heed() == [signal.SIGTTIN]


def test_one_that_has_died_meanwhile(master: Master) -> None:
    old = master.serves()
    master.seek(old)
    master.made()
    master.heed()
    survivor = master.another()
    # The lock of a process falls free with it.
    survivor.look_after()
    assert master.heed() == [signal.SIGTTOU]
    assert survivor._state == NOBODY
    assert not survivor._has_lock
    survivor.look_after()
    assert master.heed() == []


def test_one_that_has_died_is_seen_by_the_next_that_asks(master: Master) -> None:
    master.seek(master.serves())
    second = master.serves()
    master.heed()
    other = master.another()
    master.seek(second, other)
    assert master.heed() == [signal.SIGTTOU]
    master.turn()
    assert master.heed() == [signal.SIGTTIN]


def test_one_that_has_died_is_seen_by_two_at_once(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has the lock when the first has done it all, and sends nothing more."""
    master.seek(master.serves())
    master.made()
    master.heed()
    first, second = master.another(), master.another()
    take_lock = second._take_lock

    def after_the_first() -> bool:
        first.look_after()
        return take_lock()

    monkeypatch.setattr(second, "_take_lock", after_the_first)
    second.look_after()
    assert master.heed() == [signal.SIGTTOU]
    assert not second._has_lock


@pytest.mark.parametrize("heard", [False, True])
def test_a_master_that_does_not_hear(master: Master, heard: bool) -> None:
    old = master.serves()
    left = master.seek(old)
    if heard:
        master.serves()
        master.turn()
        assert master.relief._state == THANKED
    master.now += HEARD_SECONDS + 1
    master.turn()
    assert left == ["left"]
    assert not master.relief._has_lock


def test_a_master_that_is_gone(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert not master.relief.available
    assert master.seek(master.serves()) == ["left"]
    master.relief.look_after()
    assert master.heed() == []


def test_a_master_without_handlers_is_not_asked(master: Master) -> None:
    """By default these signals stop a process."""
    signal.signal(signal.SIGTTIN, signal.SIG_DFL)
    master.made()
    assert not master.relief.available


def test_the_lock_is_of_the_process(master: Master) -> None:
    master.seek(master.serves())
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        os._exit(int(master.another()._take_lock()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    master.relief._free_lock()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        os._exit(int(master.another()._take_lock()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_it_is_made_once_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relief, "_of_master", None)
    Relief.settings_read()
    first = Relief.of_master()
    assert Relief.of_master() is first
    monkeypatch.setattr(first, "_owner", 0)
    Relief.settings_read()
    assert Relief.of_master() is not first


@pytest.fixture
def of_root(master: Master, monkeypatch: pytest.MonkeyPatch) -> Master:
    """A master that its workers may not signal; `heed` is its look at them, too."""
    by_worker = os.kill

    def refused(pid: int, sig: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def heed() -> list[int]:
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", by_worker)
            master.relief.looked_at()
            master.relief.looked_at()
        return Master.heed(master)

    monkeypatch.setattr(os, "kill", refused)
    monkeypatch.setattr(master, "heed", heed)
    return master


def test_a_master_that_may_not_be_signalled_sends_it_to_itself(of_root: Master) -> None:
    """It is root's, and the workers have given that up: Gunicorn's setting `user`."""
    old = of_root.serves()
    of_root.seek(old)
    assert of_root.signals == []
    assert of_root.heed() == [signal.SIGTTIN]
    of_root.serves()
    of_root.turn()
    assert of_root.heed() == [signal.SIGTTOU]
    of_root.relief.told()
    assert of_root.heed() == []


def test_one_that_is_told_to_leave_leaves_though_it_may_not_say_so(of_root: Master) -> None:
    old = of_root.serves()
    of_root.seek(old)
    of_root.relief.told()
    # One more and one less, in this order.
    assert of_root.heed() == [signal.SIGTTIN, signal.SIGTTOU]
    assert of_root.relief._state == NOBODY


def test_only_the_master_sends_what_was_written_down(of_root: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    of_root.seek(of_root.serves())
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        of_root.relief.looked_at()
    assert of_root.heed() == [signal.SIGTTIN]


def no_folder(*args: Any, **kwargs: Any) -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")
def test_no_folder_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", no_folder)
    relief = Relief()
    assert relief._take_lock()
    relief._free_lock()


def test_elsewhere_it_is_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    relief = Relief()
    assert relief._take_lock()
    relief._free_lock()


def test_without_a_file_nobody_is_asked(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is to be replaced leaves then, and the master replaces it."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "TemporaryFile", no_folder)
    master.relief = Relief()
    assert master.seek(master.serves()) == ["left"]
    assert not master.relief._take_lock()
    assert master.heed() == []


def test_without_locks_nobody_waits_for_one(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    old = master.serves()

    def none(*args: object) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", none)
    left = master.seek(old)
    master.turn()
    assert left == ["left"]
    master.relief._free_lock()
    assert master.heed() == []
