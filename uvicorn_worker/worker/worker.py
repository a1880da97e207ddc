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
import operator
import os
import signal
import sys
import threading
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
from uvicorn_worker.server.loading import is_factory, load_or_wait
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


class _Shown:
    """What hooks find on a worker of Gunicorn's for ASGI; a subclass may have something of its own by the name."""

    def __init__(self, path: str) -> None:
        self._find = operator.attrgetter(path)

    def __get__(self, worker: Any, cls: type) -> Any:
        return self if worker is None else self._find(worker)


class UvicornWorker(BaseWorker):
    """HTTP/1.1 on uvloop and httptools, where they are installed."""

    alive: bool
    own_server: Server
    own_loop: asyncio.AbstractEventLoop
    loop = _Shown("own_loop")
    servers = _Shown("own_server.servers")

    # When the next heartbeat is due, and until when the start may go without any; by the monotonic clock.
    _own_notify_at = _own_quiet_until = _own_beaten = 0.0
    _own_notify_interval = _HEARTBEAT
    own_reloading = _own_has_failed = False
    _own_stall_watch: StallWatch | None = None
    _own_loops: LoopChoice | None = None
    # On which loop the heartbeat runs, and since when the server has accepted.
    _own_beating_on: asyncio.AbstractEventLoop | None = None
    _own_served_since: float | None = None
    _own_notifying: asyncio.Task[None] | None = None
    # What runs the server.
    _own_main: asyncio.Task[None] | None = None

    _own_surroundings: WorkerSurroundings

    def _own_make_surroundings(self) -> WorkerSurroundings:
        return WorkerSurroundings(self)

    def _own_make_signals(self) -> Signals:
        has_own_exit = type(self).handle_exit is not _HANDLE_EXIT
        return Signals(self, self._own_succession, has_own_exit=has_own_exit)

    # Boot --------------------------------------------------------------------------------------------

    def init_process(self) -> None:
        """Called after the fork; does not return before the worker is done."""
        # A collection would write to all that is shared since the fork; in the master it would keep what HUP replaces.
        getattr(gc, "freeze", bool)()  # PyPy has none.
        forget_the_masters()
        search_as_newer_pythons()
        leave_without_a_search(lambda: bool(getattr(self.own_server, "own_captured", None)))
        self._own_signals.keep()
        # Anew: what was changed since the master has started this worker's class, by post_fork too, counts.
        self._own_read_settings()
        config = self.config
        self.own_server = Server(config)
        try:
            try:
                set_up_logging(self.log, self.cfg, config)
                timeout = self.cfg.timeout
                quiet = self.own_quiet_startup if config.timeout_startup is None else config.timeout_startup
                if quiet is not None:
                    self._own_quiet_until = time.monotonic() + quiet
                config.own_settled()
                self._own_loops = LoopChoice(config)
            except ConfigError as exc:
                self._own_boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR)
            self._own_notify_interval = config.timeout_notify or min(_HEARTBEAT, timeout / 4 if timeout else _HEARTBEAT)
            self._own_callback_notify = NotifyCallback(config.callback_notify, self.log)
            self.own_loop = self._own_loops.loop
            self._own_loops.watch()
            super().init_process()
        except SystemExit as exc:
            has_said_why = self._own_has_failed or self._own_signals.aborted
            if not has_said_why and (failed := _failed_start(exc)) is not None:
                # A subclass has made another exit of a failed start, for the master to try again.
                self.log.error("%s", _in_words(failed), exc_info=failed.__cause__)
                raise
            if exc.code and not has_said_why and self._own_served_since is None:
                self._own_boot_failed(f"The worker has exited with {exc.code!r} at its start.", _boot_code(exc.code))
            if not exc.code:
                self._own_succession.left()
            raise
        except AppImportError as exc:
            exc.__context__ = None
            self._own_boot_failed(f"The application can't be loaded: {exc}", Arbiter.APP_LOAD_ERROR, exc)
        except Exception as exc:
            if self._own_served_since is not None and (self._own_is_leaving or not self._own_failed_soon):
                raise
            self._own_boot_failed(_in_words(exc), Arbiter.WORKER_BOOT_ERROR, _without_a_report(exc))
        finally:
            ignore_the_master()

    @property
    def _own_is_leaving(self) -> bool:
        """Whether the worker was told to end."""
        was_told = self._own_signals.are_kept or (self.own_server.should_exit and not self.own_server.own_cancelled)
        return self._own_signals.aborted or not self.alive or was_told or self.ppid != os.getppid()

    @property
    def _own_failed_soon(self) -> bool:
        return self._own_served_since is None or time.monotonic() - self._own_served_since < _BRIEF_SECONDS

    def load_wsgi(self) -> None:
        """Load the application as Gunicorn does; it was loaded before the fork if preload_app is set."""

        def load() -> Any:
            # Anew: the application, too, is imported as it is now, not as it was when the master started.
            forget_env_files()
            load_env_file(self.config.env_file)
            return load_or_wait(self.app.wsgi)

        self.own_make_application(load, may_wait=True)

    def own_make_application(self, load: Callable[[], Any], *, may_wait: bool = False) -> None:
        """Make the application, which is `self.wsgi` then; a factory, where it `may_wait`, is called by the server."""
        self.notify()
        failed: BaseException | None = None
        try:
            app = load()
            waits = may_wait and is_factory(app, self.config)
            self.wsgi = app if waits else self._own_surroundings.adapt(app, self.config)
        except SystemExit as exc:
            if not exc.code:
                raise
            self._own_boot_failed(
                f"The application exited with {exc.code!r} while it was loaded.", Arbiter.APP_LOAD_ERROR
            )
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - an import may raise anything; it is reported
            if self.cfg.reload:
                self._own_show_failure("The application can't be loaded", exc)
                return
            if isinstance(exc, (AppImportError, AppLoadError, ConfigError)):
                # Its message says it all.
                self._own_boot_failed(f"The application can't be loaded: {exc}", Arbiter.APP_LOAD_ERROR)
            failed = exc
        if failed is not None:
            # Not while it is handled: until then PyPy gives it its whole traceback back.
            message = f"The application can't be loaded: {failed}"
            self._own_boot_failed(message, Arbiter.WORKER_BOOT_ERROR, from_users(failed))
        self.notify()

    def _own_show_failure(self, message: str, exc: BaseException) -> None:
        """Under --reload: serve what went wrong until a file changes."""
        self.log.error("%s; waiting for a change of its files: %s", message, exc, exc_info=exc)
        for path in files_of(exc):
            self.reloader.add_extra_file(path)
        self.wsgi = failure_app(exc)

    def _own_boot_failed(self, message: str, code: int, exc: BaseException | None = None) -> NoReturn:
        """End this process so that the master ends, with one report however many workers fail."""
        self._own_has_failed = True
        if self._own_is_leaving:
            # A master that stops would take the code for a failure of its own.
            self.log.debug("Told to leave before it served, so that nobody waits for it: %s", message)
            self._own_succession.left()
            sys.exit(0)
        self._own_succession.leaves(ends.NOT_BOOTED, code)
        token = BaseWorker._own_token
        reports = token is None or token.take()
        if self._own_succession.spares_the_master():
            self._own_leave_to_others(message, reports, exc)
        if token is not None and not reports:
            if not self._own_is_told_within(_WAIT_FOR_MASTER):
                # Its signal came before this process could take it, or the one that was to report was killed.
                token.give_back()
            sys.exit(0)
        self.log.error("%s %s", message, explained("worker-failed-to-boot-exit-code-3-or-4"), exc_info=exc)
        if token is not None:
            token.wait_for_forks()
        sys.exit(code)

    def _own_leave_to_others(self, message: str, reports: bool, exc: BaseException | None) -> NoReturn:
        """A worker that can't boot while others serve is no reason to end the service."""
        pause = self._own_succession.failed(reports)
        if reports:
            self.log.error("%s. Other workers serve on; this one leaves after %g s.", message, pause, exc_info=exc)
        self._own_is_told_within(pause)
        if reports and BaseWorker._own_token is not None:
            BaseWorker._own_token.give_back()
        sys.exit(0)

    def _own_is_told_within(self, seconds: float) -> bool:
        """Wait for the master's word to leave, for so long. The server may have come to its end before it."""
        self._own_signals.keep()
        deadline = time.monotonic() + seconds
        while not (told := self._own_is_leaving) and time.monotonic() < deadline:
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
            return self._own_succession.number
        return self._own_succession.age

    @age.setter
    def age(self, value: int) -> None:
        """Set once, by Gunicorn's base class."""

    @property
    def pid(self) -> int | str:
        """The process; a word in brackets before the fork."""
        return self._own_pid

    @pid.setter
    def pid(self, value: int | str) -> None:
        """Set by the master on both sides of the fork."""
        self._own_pid = value
        if value == os.getpid():
            # What is said from here on is said by this process: that it boots, before anything else.
            unblock_handlers()
        if isinstance(value, int):
            self._own_succession.forked(value)

    @property
    def nr(self) -> int:
        """How many requests were answered, which Gunicorn's hooks ask for."""
        runtime = getattr(getattr(self, "own_server", None), "own_runtime", None)
        return 0 if runtime is None else runtime.requests

    @nr.setter
    def nr(self, value: int) -> None:
        """Gunicorn's base class begins with 0."""

    # Run ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end; called by Gunicorn's init_process once the application is loaded."""
        if self._own_loops is not None:
            self.own_loop = self._own_loops.decide()
            if self._own_loops.note:
                self.log.info("%s", self._own_loops.note)
        loop = self.own_loop
        loop.set_exception_handler(report_unless_exit)
        keep_from_children(
            loop,
            self._own_listening,
            lambda: self.own_server.own_runtime.connections if self.own_server.started else (),
            self._own_signals.are_ours,
            self._own_pause_threads,
        )
        if threading.current_thread() is threading.main_thread():
            # The loop watches for signals by itself; Gunicorn's pipe has no reader.
            signal.set_wakeup_fd(-1)
        try:
            loop.run_until_complete(self._own_run())
        except SystemExit as exc:
            if is_forked():
                leave(exc.code)
            if self.own_server.started and not isinstance(exc, ProcessExit):
                if not self._own_is_leaving:
                    self._own_succession.leaves(ends.EXIT, exc.code if isinstance(exc.code, int) else 1)
                    self.log.error(
                        "The application has called sys.exit(%r) outside of a request: this worker ends", exc.code
                    )
                if spare_the_master(exc.code) != exc.code:
                    raise ProcessExit(1) from exc
            raise
        except Exception:
            self._own_succession.leaves(ends.CRASHED)
            raise
        finally:
            try:
                close_loop(self.own_loop, self._own_main, self.own_server)
            finally:
                if self._own_stall_watch is not None:
                    self._own_stall_watch.stop()
            let_children_go()
            self._own_succession.left()
            ignore_the_master()
            server = self.own_server
            exit_by = time.monotonic() + _QUICK_EXIT if server.force_exit else server.own_exit_by
            leave_in_time(self.log, exit_by, 1 if self._own_signals.aborted else 0)

    def _own_pause_threads(self) -> None:
        """The application forks: it is to find no threads of ours, which come back with the next beat."""
        if self._own_stall_watch is not None:
            self._own_stall_watch.stop()
        self.own_server.own_pause_threads()

    async def _own_run(self) -> None:
        self._own_main = asyncio.current_task()
        self.own_begin()
        try:
            await self._serve()
        except (LifespanError, SystemExit) as exc:
            failed = _failed_start(exc)
            if failed is None or getattr(exc, "code", Arbiter.WORKER_BOOT_ERROR) != Arbiter.WORKER_BOOT_ERROR:
                raise
            if not self.cfg.reload:
                raise failed from failed.__cause__
            self._own_show_failure("The application can't be started", failed)
            self.config.app = self.wsgi
            Server(self.config)
            await self._serve()
        if self._own_served_since is None and not self._own_is_leaving:
            raise RuntimeError(f"{type(self).__qualname__}._serve() has come to its end without having served")

    def _own_listening(self) -> list[Any]:
        """The sockets that wait for connections, and the duplicates that are accepted from."""
        acceptor = getattr(self.own_server, "own_acceptor", None)
        metrics = () if self._own_metrics is None else (self._own_metrics,)
        return [*self.sockets, *self._own_shared, *metrics, *(acceptor.listeners if acceptor is not None else ())]

    async def _serve(self) -> None:
        """Serve on Gunicorn's sockets until the end; subclasses do something before, or make a `Server` themselves."""
        self.config.app = self.wsgi
        self._install_sigquit_handler()
        try:
            await self.own_server.serve(sockets=self.sockets)
        except LifespanError as exc:
            if type(self)._serve is _SERVE:
                raise
            # That of uvicorn's worker, which a subclass may look for.
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from exc

    def own_adopt(self, server: Server) -> None:
        """This is the server that signals, the heartbeat and limits are about."""
        before: Server | None = getattr(self, "own_server", None)
        if before is server:
            return
        self.own_server = server
        server.own_holds_exit = self._own_signals.holds_exit
        server.own_asks_to_go = self._own_asks_to_go
        server.own_neighbours = self._own_succession.neighbours
        server.own_reporter = self._own_succession.reporter
        server.own_metrics = self._own_metrics_thread()
        # Gunicorn says itself when a worker boots and exits: a reload of many would be many words.
        server.own_startup_level = logging.INFO if self.age <= self.cfg.workers else logging.DEBUG
        server.own_shutdown_level = logging.DEBUG
        if before is not None:
            self._own_signals.pass_on(before, server)

    def own_begin(self) -> None:
        """The event loop runs: give the heartbeat, and see what else is told by way of the loop."""
        loop = asyncio.get_running_loop()
        if self._own_beating_on is loop:
            return
        self._own_beating_on = self.own_loop = loop
        if self.cfg.timeout and self._own_stall_watch is None:
            self._own_stall_watch = StallWatch(
                self.cfg.timeout,
                lambda: self._own_beaten,
                self._own_say_stall,
                lambda: answer_past_the_loop(self.own_server),
            )
        self._own_beat()
        # Gunicorn's reloader writes to this pipe from a thread of its own.
        loop.add_reader(self.PIPE[0], self._own_reload_asked)
        self._own_signals.raise_kept()

    def own_on_started(self) -> None:
        """The server accepts connections."""
        if self._own_served_since is None:
            self._own_served_since = time.monotonic()
        self._own_succession.serving()
        if self._own_succession.completes(self.cfg.workers):
            self.log.info("%s", ready(self.config, self.cfg, self._own_shared, self.own_loop))

    def own_on_stop(self) -> None:
        """Its stop begins."""
        self._own_succession.ends()
        for listener in [*self.sockets, *self._own_shared]:
            listener.close()

    def own_divide(self, sockets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """What the server listens on: sockets that others have, too, and such that this process alone has."""
        if self.sockets is self._own_shared:
            return list(sockets), []
        return list(self._own_shared), list(sockets)

    def _own_reload_asked(self) -> None:
        """A source file has changed, and `alive` says so."""
        self.own_loop.remove_reader(self.PIPE[0])
        if not self.alive:
            self.own_reloading = True
            self._own_succession.leaves(ends.CODE_CHANGED)
            self.own_server.should_exit = True

    def _own_asks_to_go(self) -> bool:
        """Whether the master asks for the end of this worker once another one serves in its place."""
        return self._own_succession.asks_to_go(self.own_loop, self._own_leave)

    def _own_leave(self) -> None:
        self.own_server.should_exit = True

    # Heartbeat ---------------------------------------------------------------------------------------

    def _own_beat(self) -> None:
        """Tell the master that the loop turns; see whether the master is still there."""
        now = time.monotonic()
        if now >= self._own_notify_at:
            self._own_notify_at = now + self._own_notify_interval
            self._own_notify_by_callback()
            self._own_callback_notify()
        if self._own_stall_watch is not None:
            self._own_stall_watch.start()
        if self.alive and self.ppid != os.getppid():
            self.alive = False
            self._own_succession.leaves(ends.ORPHANED)
            self.log.info("Parent changed, shutting down: %s", self)
        self._own_succession.look_after()
        if not self.alive and not self.own_server.should_exit:
            # By the application or a hook, which have no other word for it.
            self.own_reloading = bool(self.cfg.reload)
            self.own_server.should_exit = True
        self.own_loop.call_later(min(_HEARTBEAT, self._own_notify_interval), self._own_beat)

    def _own_notify_by_callback(self) -> None:
        """While it serves, a subclass's own `callback_notify()` decides on the heartbeat, as with uvicorn's worker."""
        is_own = type(self).callback_notify is not _CALLBACK
        if not is_own or not self.own_server.started or self.own_server.should_exit:
            self.notify()
        elif self._own_notifying is None or self._own_notifying.done():
            self._own_notifying = self.own_loop.create_task(self.callback_notify())

    async def callback_notify(self) -> None:
        """Give the heartbeat; a subclass may leave it out while something is wrong."""
        self.notify()

    def notify(self) -> None:
        """Tell the master that this process is well; until it serves, it may be silent for timeout_startup."""
        super().notify()
        self._own_beaten = time.monotonic()
        if self._own_quiet_until > self._own_beaten + self.cfg.timeout and not self.own_server.started:
            self._own_beaten = last = self._own_quiet_until - self.cfg.timeout
            os.utime(self.tmp.fileno(), (last, last))

    # Signals (signals.py) ----------------------------------------------------------------------------

    @property
    def own_has_run(self) -> bool:
        """Whether its loop has run, and with it what ends the process in order."""
        return self._own_main is not None

    def init_signals(self) -> None:
        """TERM stops gracefully, INT and QUIT at once, USR1 reopens logs, ABRT ends a blocked worker."""
        self._own_signals.set_handlers()

    def _install_sigquit_handler(self) -> None:
        """QUIT is a quick stop; a subclass may put something else in its place."""
        self._own_signals.set_quit()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; what subclasses of uvicorn's worker hand to the event loop for TERM."""
        self.alive = False
        self.own_server.handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: cut what is under way and leave; a Ctrl+C drains first."""
        self._own_signals.quit(sig, frame)

    def handle_abort(self, sig: int, frame: FrameType | None) -> NoReturn:
        """ABRT: the master had no heartbeat."""
        self._own_signals.abort(frame)

    def own_report_stall(self) -> None:
        """Say for how long the loop has stood still, unless that was said since the last heartbeat."""
        if self._own_stall_watch is not None:
            self._own_stall_watch.report()
        else:
            self._own_say_stall()

    def _own_say_stall(self) -> None:
        """Say for how long the loop has stood still, and what was in flight."""
        stall = describe_stall(self.own_server, time.monotonic() - self._own_beaten)
        self.log.critical("%s\n  %s", stall, explained("worker-timeout"))

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files."""
        self._own_signals.reopen_logs()

    def own_handle_usr2(self, sig: int, frame: FrameType | None) -> None:
        """USR2 to a worker: say what is in flight."""
        self._own_signals.tell_flight()

    def own_handle_ignored(self, sig: int, frame: FrameType | None) -> None:
        """HUP and WINCH are the master's."""


# A program may put others in their place.
_HANDLE_EXIT, _SERVE, _CALLBACK = UvicornWorker.handle_exit, UvicornWorker._serve, UvicornWorker.callback_notify


class UvicornH11Worker(UvicornWorker):
    """The same on asyncio and h11: for PyPy, and where no C extension is wanted."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}


class UvicornH2CWorker(UvicornWorker):
    """The same with HTTP/2 beside HTTP/1.1: in cleartext (h2c) and, where there are certificates, by ALPN."""

    _own_defaults: ClassVar[dict[str, Any]] = {"http2": "on", "http2_cleartext": "both"}
