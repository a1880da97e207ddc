"""The worker classes: boot, heartbeat, signals and exit codes of one process under Gunicorn.

    fork ─► init_process: signals, application ─► run: lifespan startup ─► serve ─► drain ─► exit 0
                              │                            │
                              └─ can't be loaded: 3 or 4   └─ failed: 3         (the master ends with that code)

The heartbeat is a timer of the event loop, never a thread: a blocked loop gives none, and is aborted.

What subclasses of uvicorn's worker override is called where that one calls it: `_serve`, `run`, `init_signals`,
`callback_notify`, `_install_sigquit_handler`. None of it has to call ours for the worker to give its heartbeat, to hear
its signals and to end: that comes with the loop, and with a server that is made of `self.config`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, ClassVar, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError

from uvicorn_worker.board import ends
from uvicorn_worker.core.errors import AppLoadError, BindError, ConfigError, LifespanError, ProcessExit
from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.forked import is_forked, leave
from uvicorn_worker.core.garbage import leave_without_a_search, search_as_newer_pythons
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.server import Server
from uvicorn_worker.server.env_file import forget_env_files, load_env_file
from uvicorn_worker.server.failures import failure_app, files_of, from_users
from uvicorn_worker.server.loading import is_factory
from uvicorn_worker.server.notify_callback import NotifyCallback
from uvicorn_worker.worker.base import BaseWorker
from uvicorn_worker.worker.exit import (
    close_loop,
    ignore_the_master,
    leave_in_time,
    report_unless_exit,
    spare_the_master,
)
from uvicorn_worker.worker.forked import forget_the_masters, keep_from_children, let_children_go
from uvicorn_worker.worker.last_words import answer_past_the_loop
from uvicorn_worker.worker.loggers import set_up_logging
from uvicorn_worker.worker.loops import LoopChoice
from uvicorn_worker.worker.ready import ready
from uvicorn_worker.worker.signals import Signals
from uvicorn_worker.worker.stall_watch import StallWatch, describe_stall
from uvicorn_worker.worker.surroundings import WorkerSurroundings

__all__ = ["UvicornH2CWorker", "UvicornH11Worker", "UvicornWorker"]

# The longest pause between two heartbeats, in seconds; also how soon a dead parent is seen.
_HEARTBEAT = 1.0
# How long a worker that failed, but is not the one to report it, waits for the master to stop it.
_WAIT_FOR_MASTER = 3.0
# A worker that fails so soon after its start would do so again and again: it ends the master, as a failed boot does.
_BRIEF_SECONDS = 10.0
# What a quick stop leaves to hooks, and to threads of the application.
_QUICK_EXIT = 2.0


def _boot_code(code: Any) -> int:
    """The exit code by which the master ends."""
    return int(Arbiter.APP_LOAD_ERROR if code == Arbiter.APP_LOAD_ERROR else Arbiter.WORKER_BOOT_ERROR)


def _failed_start(exc: LifespanError | SystemExit) -> LifespanError | None:
    """What is behind the exit that uvicorn's worker makes of a failed start, or that a subclass makes of that one."""
    before: BaseException | None = exc
    while before is not None and not isinstance(before, LifespanError):
        before = before.__cause__ or before.__context__
    return before


def _in_words(exc: Exception) -> str:
    if isinstance(exc, (ConfigError, BindError)):
        return str(exc)
    return f"The application can't be started: {exc}"


def _without_a_report(exc: Exception) -> BaseException | None:
    """What is shown with its traceback: nothing of errors whose one line says it all."""
    return exc.__cause__ if isinstance(exc, (ConfigError, BindError, LifespanError)) else exc


class UvicornWorker(BaseWorker):
    """HTTP/1.1 on uvloop and httptools, where they are installed."""

    alive: bool
    server: Server
    loop: asyncio.AbstractEventLoop

    # When the next heartbeat is due, and until when the start may go without any; by the monotonic clock.
    _notify_at = _quiet_until = _beaten = 0.0
    _notify_interval = _HEARTBEAT
    reloading = _has_failed = False
    _stall_watch: StallWatch | None = None
    _loops: LoopChoice | None = None
    # On which loop the heartbeat runs, and since when the server has accepted.
    _beating_on: asyncio.AbstractEventLoop | None = None
    _served_since: float | None = None
    _notifying: asyncio.Task[None] | None = None
    # What runs the server.
    _main: asyncio.Task[None] | None = None

    _surroundings: WorkerSurroundings

    def _make_surroundings(self) -> WorkerSurroundings:
        return WorkerSurroundings(self)

    def _make_signals(self) -> Signals:
        has_own_exit = type(self).handle_exit is not UvicornWorker.handle_exit
        return Signals(self, self._succession, has_own_exit=has_own_exit)

    # Boot --------------------------------------------------------------------------------------------

    def init_process(self) -> None:
        """Called after the fork; does not return before the worker is done."""
        # A collection would write to all that is shared since the fork; in the master it would keep what HUP replaces.
        getattr(gc, "freeze", bool)()  # PyPy has none.
        forget_the_masters()
        search_as_newer_pythons()
        leave_without_a_search(lambda: bool(getattr(self.server, "captured", None)))
        self._signals.keep()
        # Anew: what was changed since the master has started this worker's class, by post_fork too, counts.
        self._read_settings()
        config = self.config
        self.server = Server(config)
        try:
            set_up_logging(self.log, self.cfg, config)
        except ConfigError as exc:
            self._boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR)
        timeout = self.cfg.timeout
        if config.timeout_startup is not None:
            self._quiet_until = time.monotonic() + config.timeout_startup
        try:
            config.settled()
            self._loops = LoopChoice(config)
        except ConfigError as exc:
            self._boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR)
        self._notify_interval = config.timeout_notify or min(_HEARTBEAT, timeout / 4 if timeout else _HEARTBEAT)
        self._callback_notify = NotifyCallback(config.callback_notify, self.log)
        self.loop = self._loops.loop
        self._loops.watch()
        try:
            super().init_process()
        except SystemExit as exc:
            has_said_why = self._has_failed or self._signals.aborted
            if not has_said_why and (failed := _failed_start(exc)) is not None:
                # A subclass has made another exit of a failed start, for the master to try again.
                self.log.error("%s", _in_words(failed), exc_info=failed.__cause__)
                raise
            if exc.code and not has_said_why and self._served_since is None:
                self._boot_failed(f"The worker has exited with {exc.code!r} at its start.", _boot_code(exc.code))
            if not exc.code:
                self._succession.left()
            raise
        except AppImportError as exc:
            exc.__context__ = None
            self._boot_failed(f"The application can't be loaded: {exc}", Arbiter.APP_LOAD_ERROR, exc)
        except Exception as exc:
            if self._served_since is not None and (self._is_leaving or not self._failed_soon):
                raise
            self._boot_failed(_in_words(exc), Arbiter.WORKER_BOOT_ERROR, _without_a_report(exc))

    @property
    def _is_leaving(self) -> bool:
        """Whether the worker was told to end."""
        was_told = self._signals.are_kept or (self.server.should_exit and not self.server.cancelled)
        return self._signals.aborted or not self.alive or was_told or self.ppid != os.getppid()

    @property
    def _failed_soon(self) -> bool:
        return self._served_since is None or time.monotonic() - self._served_since < _BRIEF_SECONDS

    def load_wsgi(self) -> None:
        """Load the application as Gunicorn does; it was loaded before the fork if preload_app is set."""

        def load() -> Any:
            # Anew: the application, too, is imported as it is now, not as it was when the master started.
            forget_env_files()
            load_env_file(self.config.env_file)
            return self.app.wsgi()

        self.make_application(load, may_wait=True)

    def make_application(self, load: Callable[[], Any], *, may_wait: bool = False) -> None:
        """Make the application, which is `self.wsgi` then; a factory, where it `may_wait`, is called by the server."""
        self.notify()
        failed: BaseException | None = None
        try:
            app = load()
            waits = may_wait and is_factory(app, self.config)
            self.wsgi = app if waits else self._surroundings.adapt(app, self.config)
        except SystemExit as exc:
            if not exc.code:
                raise
            self._boot_failed(f"The application exited with {exc.code!r} while it was loaded.", Arbiter.APP_LOAD_ERROR)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - an import may raise anything; it is reported
            if self.cfg.reload:
                self._show_failure("The application can't be loaded", exc)
                return
            if isinstance(exc, (AppImportError, AppLoadError, ConfigError)):
                # Its message says it all.
                self._boot_failed(f"The application can't be loaded: {exc}", Arbiter.APP_LOAD_ERROR)
            failed = exc
        if failed is not None:
            # Not while it is handled: until then PyPy gives it its whole traceback back.
            message = f"The application can't be loaded: {failed}"
            self._boot_failed(message, Arbiter.WORKER_BOOT_ERROR, from_users(failed))
        self.notify()

    def _show_failure(self, message: str, exc: BaseException) -> None:
        """Under --reload: serve what went wrong until a file changes."""
        self.log.error("%s; waiting for a change of its files: %s", message, exc, exc_info=exc)
        for path in files_of(exc):
            self.reloader.add_extra_file(path)
        self.wsgi = failure_app(exc)

    def _boot_failed(self, message: str, code: int, exc: BaseException | None = None) -> NoReturn:
        """End this process so that the master ends, with one report however many workers fail."""
        self._has_failed = True
        if self._is_leaving:
            # A master that stops would take the code for a failure of its own.
            self.log.debug("Told to leave before it served, so that nobody waits for it: %s", message)
            self._succession.left()
            sys.exit(0)
        self._succession.leaves(ends.NOT_BOOTED, code)
        token = BaseWorker._token
        reports = token is None or token.take()
        if self._succession.spares_the_master():
            self._leave_to_others(message, reports, exc)
        if token is not None and not reports:
            if not self._is_told_within(_WAIT_FOR_MASTER):
                # Its signal came before this process could take it, or the one that was to report was killed.
                token.give_back()
            sys.exit(0)
        self.log.error("%s %s", message, explained("worker-failed-to-boot-exit-code-3-or-4"), exc_info=exc)
        if token is not None:
            token.wait_for_forks()
        sys.exit(code)

    def _leave_to_others(self, message: str, reports: bool, exc: BaseException | None) -> NoReturn:
        """A worker that can't boot while others serve is no reason to end the service."""
        pause = self._succession.failed(reports)
        if reports:
            self.log.error("%s. Other workers serve on; this one leaves after %g s.", message, pause, exc_info=exc)
        self._is_told_within(pause)
        if reports and BaseWorker._token is not None:
            BaseWorker._token.give_back()
        sys.exit(0)

    def _is_told_within(self, seconds: float) -> bool:
        """Wait for the master's word to leave, for so long. The server may have come to its end before it."""
        self._signals.keep()
        deadline = time.monotonic() + seconds
        while not (told := self._is_leaving) and time.monotonic() < deadline:
            self.notify()
            time.sleep(0.05)
        return told

    @property
    def age(self) -> int:
        """By which the master tells who is older; that of a new worker where this one stays in its place.

        At its end it is Gunicorn's number again, which worker_exit and child_exit ask for: its file is closed by then.
        """
        try:
            self.tmp.fileno()
        except ValueError:
            return self._succession.number
        return self._succession.age

    @age.setter
    def age(self, value: int) -> None:
        """Set once, by Gunicorn's base class."""

    @property
    def pid(self) -> int | str:
        """The process; a word in brackets before the fork."""
        return self._pid

    @pid.setter
    def pid(self, value: int | str) -> None:
        """Set by the master on both sides of the fork."""
        self._pid = value
        if value == os.getpid():
            # What is said from here on is said by this process: that it boots, before anything else.
            unblock_handlers()
        if isinstance(value, int):
            self._succession.forked(value)

    @property
    def nr(self) -> int:
        """How many requests were answered, which Gunicorn's hooks ask for."""
        runtime = getattr(getattr(self, "server", None), "runtime", None)
        return 0 if runtime is None else runtime.requests

    @nr.setter
    def nr(self, value: int) -> None:
        """Gunicorn's base class begins with 0."""

    # Run ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end; called by Gunicorn's init_process once the application is loaded."""
        if self._loops is not None:
            self.loop = self._loops.decide()
            if self._loops.note:
                self.log.info("%s", self._loops.note)
        loop = self.loop
        loop.set_exception_handler(report_unless_exit)
        keep_from_children(
            loop,
            self._listening,
            lambda: self.server.runtime.connections if self.server.started else (),
            self._signals.are_ours,
            self._pause_threads,
        )
        # The loop watches for signals by itself; Gunicorn's pipe has no reader.
        signal.set_wakeup_fd(-1)
        try:
            loop.run_until_complete(self._run())
        except SystemExit as exc:
            if is_forked():
                leave(exc.code)
            if self.server.started and not isinstance(exc, ProcessExit):
                if not self._is_leaving:
                    self._succession.leaves(ends.EXIT, exc.code if isinstance(exc.code, int) else 1)
                    self.log.error(
                        "The application has called sys.exit(%r) outside of a request: this worker ends", exc.code
                    )
                if spare_the_master(exc.code) != exc.code:
                    raise ProcessExit(1) from exc
            raise
        except Exception:
            self._succession.leaves(ends.CRASHED)
            raise
        finally:
            try:
                close_loop(self.loop, self._main, self.server)
            finally:
                if self._stall_watch is not None:
                    self._stall_watch.stop()
            let_children_go()
            self._succession.left()
            ignore_the_master()
            server = self.server
            exit_by = time.monotonic() + _QUICK_EXIT if server.force_exit else server.exit_by
            leave_in_time(self.log, exit_by, 1 if self._signals.aborted else 0)

    def _pause_threads(self) -> None:
        """The application forks: it is to find no threads of ours, which come back with the next beat."""
        if self._stall_watch is not None:
            self._stall_watch.stop()
        self.server.pause_threads()

    async def _run(self) -> None:
        self._main = asyncio.current_task()
        self.begin()
        try:
            await self._serve()
        except (LifespanError, SystemExit) as exc:
            failed = _failed_start(exc)
            if failed is None or getattr(exc, "code", Arbiter.WORKER_BOOT_ERROR) != Arbiter.WORKER_BOOT_ERROR:
                raise
            if not self.cfg.reload:
                raise failed from failed.__cause__
            self._show_failure("The application can't be started", failed)
            self.config.app = self.wsgi
            Server(self.config)
            await self._serve()
        if self._served_since is None and not self._is_leaving:
            raise RuntimeError(f"{type(self).__qualname__}._serve() has come to its end without having served")

    def _listening(self) -> list[Any]:
        """The sockets that wait for connections, and the duplicates that are accepted from."""
        acceptor = getattr(self.server, "acceptor", None)
        metrics = () if self._metrics is None else (self._metrics,)
        return [*self.sockets, *self._shared, *metrics, *(acceptor.listeners if acceptor is not None else ())]

    async def _serve(self) -> None:
        """Serve on Gunicorn's sockets until the end; subclasses do something before, or make a `Server` themselves."""
        self.config.app = self.wsgi
        self._install_sigquit_handler()
        try:
            await self.server.serve(self.sockets)
        except LifespanError as exc:
            if type(self)._serve is UvicornWorker._serve:
                raise
            # That of uvicorn's worker, which a subclass may look for.
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from exc

    def adopt(self, server: Server) -> None:
        """This is the server that signals, the heartbeat and limits are about."""
        before: Server | None = getattr(self, "server", None)
        if before is server:
            return
        self.server = server
        server.holds_exit = self._signals.holds_exit
        server.asks_to_go = self._asks_to_go
        server.neighbours = self._succession.neighbours
        server.reporter = self._succession.reporter
        server.metrics = self._metrics_thread()
        # Gunicorn says itself when a worker boots and exits: a reload of many would be many words.
        server.startup_level = logging.INFO if self.age <= self.cfg.workers else logging.DEBUG
        server.shutdown_level = logging.DEBUG
        if before is not None:
            self._signals.pass_on(before, server)

    def begin(self) -> None:
        """The event loop runs: give the heartbeat, and see what else is told by way of the loop."""
        loop = asyncio.get_running_loop()
        if self._beating_on is loop:
            return
        self._beating_on = self.loop = loop
        if self.cfg.timeout and self._stall_watch is None:
            self._stall_watch = StallWatch(
                self.cfg.timeout, lambda: self._beaten, self._say_stall, lambda: answer_past_the_loop(self.server)
            )
        self._beat()
        # Gunicorn's reloader writes to this pipe from a thread of its own.
        loop.add_reader(self.PIPE[0], self._reload_asked)
        self._signals.raise_kept()

    def on_started(self) -> None:
        """The server accepts connections."""
        if self._served_since is None:
            self._served_since = time.monotonic()
        self._succession.serving()
        if self._succession.completes(self.cfg.workers):
            self.log.info("%s", ready(self.config, self.cfg, self._shared, self.loop))

    def on_stop(self) -> None:
        """Its stop begins."""
        self._succession.ends()
        for listener in [*self.sockets, *self._shared]:
            listener.close()

    def divide(self, sockets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """What the server listens on: sockets that others have, too, and such that this process alone has."""
        if self.sockets is self._shared:
            return list(sockets), []
        return list(self._shared), list(sockets)

    @property
    def servers(self) -> list[Any]:
        """What is listened on."""
        return list(self.server.servers)

    def _reload_asked(self) -> None:
        """A source file has changed, and `alive` says so."""
        self.loop.remove_reader(self.PIPE[0])
        if not self.alive:
            self.reloading = True
            self._succession.leaves(ends.CODE_CHANGED)
            self.server.should_exit = True

    def _asks_to_go(self) -> bool:
        """Whether the master asks for the end of this worker once another one serves in its place."""
        return self._succession.asks_to_go(self.loop, self._leave)

    def _leave(self) -> None:
        self.server.should_exit = True

    # Heartbeat ---------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Tell the master that the loop turns; see whether the master is still there."""
        now = time.monotonic()
        if now >= self._notify_at:
            self._notify_at = now + self._notify_interval
            self._notify_by_callback()
            self._callback_notify()
        if self._stall_watch is not None:
            self._stall_watch.start()
        if self.alive and self.ppid != os.getppid():
            self.alive = False
            self._succession.leaves(ends.ORPHANED)
            self.log.info("Parent changed, shutting down: %s", self)
        self._succession.look_after()
        if not self.alive and not self.server.should_exit:
            # By the application or a hook, which have no other word for it.
            self.reloading = bool(self.cfg.reload)
            self.server.should_exit = True
        self.loop.call_later(min(_HEARTBEAT, self._notify_interval), self._beat)

    def _notify_by_callback(self) -> None:
        """While it serves, a subclass's own `callback_notify()` decides on the heartbeat, as with uvicorn's worker."""
        is_own = type(self).callback_notify is not UvicornWorker.callback_notify
        if not is_own or not self.server.started or self.server.should_exit:
            self.notify()
        elif self._notifying is None or self._notifying.done():
            self._notifying = self.loop.create_task(self.callback_notify())

    async def callback_notify(self) -> None:
        """Give the heartbeat; a subclass may leave it out while something is wrong."""
        self.notify()

    def notify(self) -> None:
        """Tell the master that this process is well; until it serves, it may be silent for timeout_startup."""
        super().notify()
        self._beaten = time.monotonic()
        if self._quiet_until > self._beaten + self.cfg.timeout and not self.server.started:
            self._beaten = last = self._quiet_until - self.cfg.timeout
            os.utime(self.tmp.fileno(), (last, last))

    # Signals (signals.py) ----------------------------------------------------------------------------

    @property
    def has_run(self) -> bool:
        """Whether its loop has run, and with it what ends the process in order."""
        return self._main is not None

    def init_signals(self) -> None:
        """TERM stops gracefully, INT and QUIT at once, USR1 reopens logs, ABRT ends a blocked worker."""
        self._signals.set_handlers()

    def _install_sigquit_handler(self) -> None:
        """QUIT is a quick stop; a subclass may put something else in its place."""
        self._signals.set_quit()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; what subclasses of uvicorn's worker hand to the event loop for TERM."""
        self.alive = False
        self.server.handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: cut what is under way and leave; a Ctrl+C drains first."""
        self._signals.quit(sig, frame)

    def handle_abort(self, sig: int, frame: FrameType | None) -> NoReturn:
        """ABRT: the master had no heartbeat."""
        self._signals.abort(frame)

    def report_stall(self) -> None:
        """Say for how long the loop has stood still, unless that was said since the last heartbeat."""
        if self._stall_watch is not None:
            self._stall_watch.report()
        else:
            self._say_stall()

    def _say_stall(self) -> None:
        """Say for how long the loop has stood still, and what was in flight."""
        stall = describe_stall(self.server, time.monotonic() - self._beaten)
        self.log.critical("%s\n  %s", stall, explained("worker-timeout"))

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files."""
        self._signals.reopen_logs()

    def handle_usr2(self, sig: int, frame: FrameType | None) -> None:
        """USR2 to a worker: say what is in flight."""
        self._signals.tell_flight()

    def handle_ignored(self, sig: int, frame: FrameType | None) -> None:
        """HUP and WINCH are the master's."""


class UvicornH11Worker(UvicornWorker):
    """The same on asyncio and h11: for PyPy, and where no C extension is wanted."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}


class UvicornH2CWorker(UvicornWorker):
    """The same with HTTP/2 beside HTTP/1.1: in cleartext (h2c) and, where there are certificates, by ALPN."""

    _DEFAULTS: ClassVar[dict[str, Any]] = {"http2": "on", "http2_cleartext": "both"}
