"""What each signal means to a worker, from its first moment to its last.

    fork ──► keep(): TERM, INT and QUIT wait ──► set_handlers(): each is heard ──► ignore_the_master(), in exit.py

    TERM          a graceful stop, at once within the import; put off while its successor does not serve yet
    INT, QUIT     a quick stop; Ctrl+C in a terminal is a graceful one first (by_hand.py)
    ABRT          the master had no heartbeat: say what blocks the loop, and leave
    USR1, USR2    reopen the logs; say what is in flight

A handler may interrupt any other one, and itself. The handlers that are set are methods of the worker, which subclasses
override; what is here is what those of the worker do.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType
from typing import Any, ClassVar, NoReturn, Protocol

from uvicorn_worker.board import ends
from uvicorn_worker.core.errors import ProcessExit
from uvicorn_worker.logs.guards import keep_files_open
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.server import Server
from uvicorn_worker.server.in_flight import describe_flight
from uvicorn_worker.worker.by_hand import OVERTAKEN_SECONDS, ByHand
from uvicorn_worker.worker.early_signals import keep_signals
from uvicorn_worker.worker.exit import spare_the_master
from uvicorn_worker.worker.last_words import answer_holder
from uvicorn_worker.worker.stall_watch import enable_trace
from uvicorn_worker.worker.succession import Succession

__all__ = ["Signalled", "Signals"]


class Signalled(Protocol):
    """What the signals ask of their worker."""

    own_drains_on_int: ClassVar[bool]
    alive: bool
    cfg: Any
    log: Any
    own_loop: asyncio.AbstractEventLoop
    own_server: Server

    @property
    def own_has_run(self) -> bool:
        """Whether its loop has run, and with it what ends the process in order."""

    def own_report_stall(self) -> None:
        """Say for how long the loop has stood still, unless that was said since the last heartbeat."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None: ...

    def handle_quit(self, sig: int, frame: FrameType | None) -> None: ...

    def handle_abort(self, sig: int, frame: FrameType | None) -> NoReturn: ...

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None: ...

    def own_handle_usr2(self, sig: int, frame: FrameType | None) -> None: ...

    def own_handle_ignored(self, sig: int, frame: FrameType | None) -> None: ...


class Signals:
    """The signals of one worker. `has_own_exit`: its class has a `handle_exit` of its own."""

    def __init__(self, worker: Signalled, succession: Succession, *, has_own_exit: bool) -> None:
        self._worker = worker
        self._succession = succession
        self._has_own_exit = has_own_exit
        self._by_hand = ByHand(always=worker.own_drains_on_int)
        # Those that came while there were no handlers for them.
        self._early: list[int] = []
        # Whether a TERM is put off.
        self._held = False
        self.aborted = False

    # Handlers ----------------------------------------------------------------------------------------

    def keep(self) -> None:
        """From now on TERM, INT and QUIT are kept until the handlers are set; also such as came since the fork."""
        keep_signals(self._keep)

    def _keep(self, sig: int, frame: FrameType | None) -> None:
        """Older workers see at once that it came."""
        self._early.append(sig)
        self._succession.told()

    @property
    def are_kept(self) -> bool:
        """Whether one has come, and nobody has taken it yet."""
        return bool(self._early)

    def raise_kept(self) -> None:
        """Those that came before there were handlers for them."""
        early, self._early = self._early, []
        for sig in early:
            signal.raise_signal(sig)

    def set_handlers(self) -> None:
        """Those of the worker, which hear first what was kept."""
        worker = self._worker
        handlers: dict[int, Any] = {
            signal.SIGTERM: worker.own_server.handle_exit,
            signal.SIGINT: worker.handle_quit,
            signal.SIGQUIT: worker.handle_quit,
            signal.SIGUSR1: worker.handle_usr1,
            signal.SIGABRT: worker.handle_abort,
            # A handler rather than SIG_IGN, which the programs that the application starts would inherit.
            signal.SIGHUP: worker.own_handle_ignored,
            signal.SIGUSR2: worker.own_handle_usr2,
            signal.SIGWINCH: worker.own_handle_ignored,
            signal.SIGCHLD: signal.SIG_DFL,
        }
        for sig, handler in handlers.items():
            _set(sig, handler)
        enable_trace(worker.log.error_log)
        self.raise_kept()

    def set_quit(self) -> None:
        """The handler of QUIT, which subclasses set in a method of its own."""
        _set(signal.SIGQUIT, self._worker.handle_quit)

    def pass_on(self, before: Server, server: Server) -> None:
        """Another server has taken the place of `before`: what was told counts for it, and TERM is its."""
        if before.should_exit:
            server.should_exit = True
        if signal.getsignal(signal.SIGTERM) == before.handle_exit:
            signal.signal(signal.SIGTERM, server.handle_exit)

    def are_ours(self, handler: object) -> bool:
        """Whether a handler is the worker's, a server's, or what keeps signals."""
        owner = getattr(handler, "__self__", None)
        return owner is self._worker or owner is self or isinstance(owner, Server)

    # TERM --------------------------------------------------------------------------------------------

    def holds_exit(self) -> bool:
        """Whether TERM is put off, since the worker that takes this one's place does not serve yet."""
        worker = self._worker
        if not self._succession.holds():
            self._succession.told()
            if not self._has_begun:
                # The application is imported, which may go on behind SystemExit: it leaves at once, as uvicorn's does.
                self._succession.leaves(ends.TOLD_TO)
                worker.own_server.should_exit = True
                sys.exit(0)
            return False
        if not self._held:
            self._held = True
            worker.log.debug("Told to leave: serving on until a new worker has started.")
            worker.own_loop.call_soon_threadsafe(self._succession.watch, worker.own_loop, self._let_go, worker.log)
        return True

    def _let_go(self, stays: bool) -> None:
        """What TERM asked for is done, or not at all."""
        self._held = False
        if not stays:
            self._succession.told()
            server = self._worker.own_server
            server.own_holds_exit = None
            server.handle_exit(signal.SIGTERM, None)

    # INT and QUIT ------------------------------------------------------------------------------------

    def quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: cut what is under way and leave; a Ctrl+C drains first."""
        loop, server = self._worker.own_loop, self._worker.own_server
        running = loop.is_running()
        if running and self._by_hand.may_have_overtaken(sig, server.should_exit):
            loop.call_soon_threadsafe(loop.call_later, OVERTAKEN_SECONDS, self._cut, sig, frame)
        elif running and self._by_hand.drains(sig, server.should_exit):
            self._succession.leaves(ends.TOLD_TO)
            # Not handle_exit: the master's TERM may have come in the middle of this.
            server.own_exit_gracefully(sig)
        else:
            self._cut(sig, frame)

    def _cut(self, sig: int, frame: FrameType | None) -> None:
        worker = self._worker
        if worker.own_server.force_exit:
            return
        if self._by_hand.repeats(sig):
            worker.cfg.worker_int(worker)
            return
        worker.own_server.own_captured.append(sig)
        self._succession.leaves(ends.TOLD_TO)
        if sig == signal.SIGQUIT and self._has_own_exit:
            # uvicorn's worker calls it at QUIT.
            worker.handle_exit(sig, frame)
        worker.alive = False
        # The first, too, as it may not have begun to start.
        worker.own_server.should_exit = worker.own_server.force_exit = True
        worker.cfg.worker_int(worker)
        # After the server's end there is only the loop's, which takes no long time.
        if not self._has_begun:
            sys.exit(0)

    @property
    def _has_begun(self) -> bool:
        return self._worker.own_has_run or self._worker.own_loop.is_running()

    # ABRT --------------------------------------------------------------------------------------------

    def abort(self, frame: FrameType | None) -> NoReturn:
        """The master had no heartbeat; faulthandler has written the stacks already."""
        worker = self._worker
        worker.alive = False
        self._succession.leaves(ends.BLOCKED)
        worker.own_report_stall()
        answer_holder(worker.own_server, frame)
        code: Any = 1
        try:
            worker.cfg.worker_abort(worker)
        except SystemExit as exc:
            code = exc.code
        # Should something take the exception for its own (uvloop does, in what a transport calls): leave all the same.
        worker.own_server.force_exit = self.aborted = True
        raise ProcessExit(spare_the_master(code))

    # USR1 and USR2 -----------------------------------------------------------------------------------

    def reopen_logs(self) -> None:
        """The stacks of an abort must go to the new files, too."""
        worker = self._worker
        for line in keep_files_open(worker.log.reopen_files):
            worker.own_server.own_log.error("%s", line)
        unblock_handlers()
        enable_trace(worker.log.error_log)

    def tell_flight(self) -> None:
        """Say what is in flight, and where the task of each request stands."""
        self._worker.log.warning("%s", describe_flight(self._worker.own_server))


def _set(sig: int, handler: Any) -> None:
    signal.signal(sig, handler)
    if handler is not signal.SIG_DFL:
        signal.siginterrupt(sig, False)
