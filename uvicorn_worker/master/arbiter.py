"""`Arbiter`: Gunicorn's, but nobody leaves before the worker that takes its place serves.

    who is to go       those of before the last HUP, and those that ask for it (max_requests, memory, lifetime)
    who is to come     as many as are missing without them, `reload_surge` at a time
    who may go         as many as there are too many of those that serve, the oldest first

Gunicorn forks the new workers and tells the old ones to leave in the same moment; and a worker at max_requests is
replaced when it is gone. Here both wait for the board (board/board.py), on which a worker says that it serves. It is
looked at in each turn of the main loop: once a second, and whenever a signal has come.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from gunicorn.arbiter import Arbiter as GunicornArbiter

from uvicorn_worker.board.board import BOOTING, ENDED, SERVING, Board, Slot
from uvicorn_worker.board.deaths import tell_deaths
from uvicorn_worker.board.ends import RELOAD, SURPLUS

__all__ = ["Arbiter"]


class _Forked(Exception):
    """Gunicorn's reload() has done all but wait for the old workers."""


class Arbiter(GunicornArbiter):
    """The master of one service."""

    num_workers: int
    _num_workers: int

    def __init__(self, app: Any) -> None:
        self._stopping = False
        # Inside of Gunicorn's reload(), and at its end, where it waits for the old workers.
        self._reloading = self._forked = False
        # Workers up to this age are to go.
        self._old_age = 0
        # Those that were told to.
        self._told: set[int] = set()
        # Whether workers are being reaped, and how often that was asked for meanwhile.
        self._reaping = False
        self._reaps_due: list[None] = []
        # Whether the last one that was to be started could not be.
        self._short = False
        # Whether Gunicorn's dirty arbiter is to be told that it may go.
        self._dirty_stays = False
        self._surge: int | None = None
        super().__init__(app)
        self._board = Board.of_master()
        self._board.managed = True

    def setup(self, app: Any) -> None:
        """Take over the settings, at the start and at each HUP."""
        super().setup(app)
        options = getattr(self.worker_class, "own_config_for", None)
        self._surge = None if options is None else options(self.cfg).reload_surge

    # Ctrl+C ------------------------------------------------------------------------------------------

    def handle_int(self) -> None:
        """INT: a quick stop, as Gunicorn has it; of the command, a graceful one, which a second INT makes quick."""
        if not getattr(self.app, "drains_on_int", False):
            super().handle_int()
        self.stop()
        raise StopIteration

    def stop(self, graceful: bool = True) -> None:
        """Tell all workers to leave, and wait for them."""
        self._stopping = True
        super().stop(graceful)

    def kill_dirty_arbiter(self, sig: int) -> None:
        """Tell Gunicorn's dirty arbiter; at a stop when the workers have left, whose last requests may yet call it."""
        self._dirty_stays = self._stopping and sig == signal.SIGTERM and bool(self.WORKERS)
        if not self._dirty_stays:
            super().kill_dirty_arbiter(sig)

    def reap_dirty_arbiter(self) -> None:
        """Take note of its end; a stop asks for it again and again."""
        if self._dirty_stays and not self.WORKERS:
            self.kill_dirty_arbiter(signal.SIGTERM)
        super().reap_dirty_arbiter()

    def _cleanup_orphaned_dirty_arbiter(self) -> None:
        """Nothing: a dirty arbiter whose master has gone ends by itself, within a second.

        Gunicorn's master looks into a file that it finds by proc_name alone, and ends the arbiter of another master, as
        of a service on two ports (findings/gunicorn-dirty-same-name.sh).
        """

    def signal(self, sig: int, frame: Any) -> None:
        """A signal has come; while Gunicorn waits for its workers, older versions look at none."""
        if self._stopping and sig in (signal.SIGINT, signal.SIGQUIT):
            self.kill_workers(signal.SIGQUIT)
        super().signal(sig, frame)

    # HUP ---------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Load the settings anew, and replace all workers; where the settings can't be used, go on as before."""
        cfg, last = self.app.cfg, self.worker_age
        self._reloading = True
        try:
            super().reload()
        except _Forked:
            pass
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever the settings raise, the service goes on
            self._go_on(cfg, exc)
            return
        finally:
            self._reloading = self._forked = False
        self._old_age = last
        self.manage_workers()

    def _go_on(self, cfg: Any, exc: BaseException) -> None:
        """What was in force before HUP is in force again."""
        self.app.cfg = cfg
        os.environ.update(cfg.env)
        self.setup(self.app)
        self.log.error("The settings can't be loaded; going on with those of before: %r", exc)

    def spawn_worker(self) -> Any:
        """Fork a worker; within Gunicorn's reload() none, since `manage_workers` does, step by step."""
        if self._reloading:
            return None
        try:
            pid = super().spawn_worker()
        except OSError as exc:
            # The system has no room for one more process, or no memory: those that serve are not to end for it. Where
            # not even the first could be started, it is a start that has failed.
            if exc.errno not in (errno.EAGAIN, errno.ENOMEM) or self.worker_age == 1:
                raise
            self._not_forked(exc)
            return None
        if self._short:
            self._short = False
            self.log.info("Workers can be started again.")
        return pid

    def _not_forked(self, exc: OSError) -> None:
        for slot in self._board:
            # It was taken for the process that has not come to be. Others may have been forked a moment ago, and have
            # not written their numbers yet.
            if slot.age == self.worker_age and slot.alive and not slot.pid:
                slot.state, slot.buried = ENDED, True
        if not self._short:
            self._short = True
            self.log.error("A worker can't be started for now: %s. It is tried again each second.", exc)

    def reap_workers(self) -> None:
        """Take note of workers that have ended."""
        if self._reloading and self._forked:
            raise _Forked
        # Gunicorn 23 calls this in the handler of a signal, which comes while workers are reaped, too.
        self._reaps_due.append(None)
        while self._reaps_due and not self._reaping:
            self._reaping = True
            try:
                self._reaps_due.clear()
                self._reap()
            finally:
                self._reaping = False

    def _reap(self) -> None:
        statuses = {pid: status for pid in self.WORKERS if (status := _status_of(pid)) is not None}
        super().reap_workers()
        tell_deaths(self.log, self.cfg.timeout, statuses.get)
        self._told &= set(self.WORKERS)

    # Who comes, who goes -----------------------------------------------------------------------------

    def manage_workers(self) -> None:
        """Start who is missing; let those go that are to, as far as others serve in their place."""
        if self._reloading:
            self._forked = True
            return
        slots = {slot.pid: slot for slot in self._board}
        staying: list[int] = []
        going: list[int] = []
        for pid, worker in sorted(self.WORKERS.items(), key=lambda item: item[1].age):
            if pid not in self._told:
                slot = slots.get(pid)
                leaves = worker.age <= self._old_age or (slot is not None and slot.asks_to_go)
                (going if leaves else staying).append(pid)
        serving = [pid for pid in staying if _serves(slots.get(pid))]
        # The youngest of those that do not serve yet go before the oldest that does.
        spare = [pid for pid in reversed(staying) if pid not in serving] + serving
        for pid in spare[: max(len(staying) - self.num_workers, 0)]:
            self._tell(pid, slots.get(pid), SURPLUS)
        self._start(self.num_workers - len(staying), sum(_boots(slots.get(pid)) for pid in staying))
        # Nobody waits for one of before that does not serve: it boots, or could not.
        useful = [pid for pid in going if _serves(slots.get(pid))]
        too_many = max(len(serving) + len(useful) - self.num_workers, 0)
        for pid in going:
            if pid not in useful or pid in useful[:too_many]:
                self._tell(pid, slots.get(pid), RELOAD)
        self._report()

    def _start(self, missing: int, booting: int) -> None:
        room = missing if self._surge is None else min(missing, self._surge - booting)
        for _ in range(room):
            self.spawn_worker()
            if self._short:
                break

    def _tell(self, pid: int, slot: Slot | None, wish: int) -> None:
        self._told.add(pid)
        if slot is not None:
            slot.wish = wish
        self.kill_worker(pid, signal.SIGTERM)

    def _report(self) -> None:
        """Gunicorn's own metrics of workers and backlog, from a look at which nothing is missing."""
        # Past the property, which calls the hook nworkers_changed.
        wanted, self._num_workers = self._num_workers, len(self.WORKERS)
        try:
            super().manage_workers()
        finally:
            self._num_workers = wanted


def _status_of(pid: int) -> int | None:
    """The exit code of a process that has ended, or the negative number of a signal; it is left to be reaped."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except AttributeError:
        # macOS has waitid from Python 3.13 on, PyPy has none.
        return _status_in_proc(pid)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _status_in_proc(pid: int) -> int | None:
    """The same as Linux tells it (proc(5)), where Python can't ask."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Behind the name, which may have anything in it; the last field is as waitpid gives it.
            state, parent, *_, status = file.read().rpartition(b") ")[2].split()
    except (OSError, ValueError):
        return None
    return os.waitstatus_to_exitcode(int(status)) if (state, int(parent)) == (b"Z", os.getpid()) else None


def _boots(slot: Slot | None) -> bool:
    return slot is not None and slot.state == BOOTING


def _serves(slot: Slot | None) -> bool:
    """Whether a worker serves; one of another package has no slot, and does as soon as it is forked."""
    return slot is None or slot.state == SERVING
