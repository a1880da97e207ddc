"""The worker classes: boot, heartbeat, signals and exit codes of one process under Gunicorn.

    fork ─► init_process: signals, application ─► run: lifespan startup ─► serve ─► drain ─► exit 0
                              │                            │
                              └─ can't be loaded: 3 or 4   └─ failed: 3         (the master ends with that code)

The heartbeat is a timer of the event loop, never a thread: a blocked loop gives none, and is aborted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import AppLoadError, ConfigError, LifespanError, ProcessExit
from uvicorn_worker.http1.parsers import check_parser
from uvicorn_worker.server import Server
from uvicorn_worker.server.loading import adapt, load_env_file, loop_factory
from uvicorn_worker.tls.contexts import check_tls, tls_is_on
from uvicorn_worker.worker.access_hook import access_hook
from uvicorn_worker.worker.config_kwargs import AUTO, options_in_code
from uvicorn_worker.worker.error_page import failure_app, files_of
from uvicorn_worker.worker.exit import leave_in_time
from uvicorn_worker.worker.failure_token import FailureToken
from uvicorn_worker.worker.hooks import with_hooks
from uvicorn_worker.worker.installed import mixture
from uvicorn_worker.worker.kept_listener import keep_listening
from uvicorn_worker.worker.loggers import adopt_loggers, set_up_logging
from uvicorn_worker.worker.notify_callback import NotifyCallback
from uvicorn_worker.worker.settings import check_overrides, config_from_settings, outer_options
from uvicorn_worker.worker.ssl_context import context_factory
from uvicorn_worker.worker.stall_watch import StallWatch, describe_stall, enable_trace
from uvicorn_worker.worker.succession import Succession

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["UvicornH2CWorker", "UvicornH11Worker", "UvicornWorker"]

# The longest pause between two heartbeats, in seconds; also how soon a dead parent is seen.
_HEARTBEAT = 1.0
# How long a worker that failed, but is not the one to report it, waits for the master to stop it.
_WAIT_FOR_MASTER = 3.0
# Options whose values are not shown.
_SECRET = frozenset({"ssl_keyfile_password"})
# How long running requests may hold up a reload.
_RELOAD_SECONDS = 1.0
# What a quick stop leaves to hooks, and to threads of the application.
_QUICK_EXIT = 2.0
# What ends the master: they are for workers that can't boot, and for nothing else.
_BOOT_CODES = (Arbiter.WORKER_BOOT_ERROR, Arbiter.APP_LOAD_ERROR)
# How long tasks that the application left running may take to end once they were cancelled.
_CANCEL_SECONDS = 0.5


async def _not_loaded(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for the application while the options are checked, before anything is imported."""


def _report_unless_exit(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own report of an error, but for the SystemExit with which a signal handler left a task."""
    if not isinstance(context.get("exception"), SystemExit):
        loop.default_exception_handler(context)


class UvicornWorker(Worker):
    """HTTP/1.1 on uvloop and httptools, where they are installed."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**AUTO}
    """Options that a subclass fixes, beside those of the classes above it; they win over Gunicorn's settings."""

    _DEFAULTS: ClassVar[dict[str, Any]] = {}
    """Options whose defaults are others under this class; Gunicorn's settings win over them."""

    _token: ClassVar[FailureToken | None] = None
    _was_set_up: ClassVar[bool] = False

    alive: bool

    # When the next heartbeat is due, and until when the start may go without any; by the monotonic clock.
    _notify_at = _quiet_until = 0.0
    _reloading = _aborted = _held = False

    # Before the fork ---------------------------------------------------------------------------------

    @classmethod
    def setup(cls) -> None:
        """Called when Gunicorn looks the class up, at the start and on HUP, before `preload_app` loads anything."""
        try:
            given = outer_options().get("env_file")
            load_env_file(cls._overrides().get("env_file", given and given.value))
        except ConfigError as exc:
            # On HUP an exception would be the end of the master without a word to its workers: they report it.
            if not UvicornWorker._was_set_up:
                raise RuntimeError(str(exc)) from None
        UvicornWorker._was_set_up = True

    @classmethod
    def check_config(cls, cfg: GunicornConfig, log: Any) -> None:
        """Stop the master, before it forks, for options that can't be used."""
        say = None if log is None else log.log
        try:
            config = config_from_settings(cfg, _not_loaded, sys.maxsize, cls._overrides(), say, cls._DEFAULTS)
            loop_factory(config)
            check_tls(config)
            check_parser(config)
        except ConfigError as exc:
            # Gunicorn prints this as one line and exits.
            raise RuntimeError(str(exc)) from None
        if say is not None and (line := mixture()):
            say(logging.WARNING, line)
        if say is not None and context_factory(cfg) is not None and not tls_is_on(config):
            say(
                logging.WARNING,
                "Gunicorn setting ssl_context: the hook is not called, since without certfile plain HTTP is served",
            )

    @classmethod
    def config_for(cls, cfg: GunicornConfig) -> Config:
        """The options of this class under Gunicorn's settings; raises `ConfigError`."""
        return config_from_settings(cfg, _not_loaded, sys.maxsize, cls._overrides(), None, cls._DEFAULTS)

    @classmethod
    def configure(cls, **options: Any) -> type[UvicornWorker]:
        """A worker class with these options fixed, for `worker_class` in gunicorn.conf.py; it nests.

        Raises `ConfigError` for an option that is unknown, or a value that it can't have.
        """
        check_overrides(options, f"{cls.__name__}.configure")
        shown = ", ".join(
            f"{name}={'...' if name in _SECRET else repr(value)}" for name, value in sorted(options.items())
        )
        names = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.configure({shown})"}
        return type(cls.__name__, (cls,), {"CONFIG_KWARGS": options, **names})

    @classmethod
    def _overrides(cls) -> dict[str, Any]:
        """What CONFIG_KWARGS fixes before there is a worker."""
        return options_in_code(cls)

    def __init__(self, age: int, ppid: int, sockets: Any, app: Any, timeout: float, cfg: GunicornConfig, log: Any):
        self._succession = Succession(age, cfg.workers)
        super().__init__(age, ppid, sockets, app, timeout, cfg, log)
        adopt_loggers(self.log, self.cfg)
        keep_listening(self.sockets, self.cfg, self.log)
        # Where Gunicorn opens sockets for each worker (reuse_port), it puts them in the place of these after the fork.
        self._shared = self.sockets
        self._early_signals: list[int] = []
        self._beaten = time.monotonic()
        self._stall_watch: StallWatch | None = None
        if UvicornWorker._token is None or UvicornWorker._token.owner != os.getpid():
            UvicornWorker._token = FailureToken()
        UvicornWorker._token.worker_made()

    # Boot --------------------------------------------------------------------------------------------

    def init_process(self) -> None:
        """Called after the fork; does not return before the worker is done."""
        # Until ours are set, signals would go to the handlers of the master, which are forked with it: a worker that
        # is told to stop in its first moment would not hear it, and be killed at the end of graceful_timeout.
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(sig, self._keep_signal)
        try:
            config = config_from_settings(
                self.cfg, _not_loaded, self.max_requests, options_in_code(type(self), self), defaults=self._DEFAULTS
            )
        except ConfigError as exc:
            # The master has checked this at its start; what was changed before a reload is seen here first.
            self.server = Server(Config(app=_not_loaded))
            self._boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR)
        self.server = Server(config)
        self.server.holds_exit = self._holds_exit
        self.server.asks_to_go = self._succession.asks_to_go
        # Gunicorn says itself when a worker boots and exits: a reload of many would be many words.
        self.server.startup_level = logging.INFO if self.age <= self.cfg.workers else logging.DEBUG
        self.server.shutdown_level = logging.DEBUG
        try:
            set_up_logging(self.log, self.cfg, config)
        except ConfigError as exc:
            self._boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR)
        timeout = self.cfg.timeout
        self._notify_interval = config.timeout_notify or min(_HEARTBEAT, timeout / 4 if timeout else _HEARTBEAT)
        self._callback_notify = NotifyCallback(config.callback_notify, self.log)
        if config.timeout_startup is not None:
            self._quiet_until = time.monotonic() + config.timeout_startup
        # Applications of an older style ask for the event loop when they are imported.
        self.loop = loop_factory(config)()
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(_report_unless_exit)
        super().init_process()

    def _keep_signal(self, sig: int, frame: FrameType | None) -> None:
        """A signal before our handlers are set: they get it then, and older workers see at once that it came."""
        self._early_signals.append(sig)
        self._succession.told()

    def load_wsgi(self) -> None:
        """Load the application as Gunicorn does; it was loaded before the fork if preload_app is set."""
        self.notify()
        try:
            # Anew: the application, too, is imported as it is now, not as it was when the master started.
            load_env_file(self.server.config.env_file)
            self.wsgi = adapt(self.app.wsgi(), self.server.config, multiprocess=self.cfg.workers > 1)
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
            code = Arbiter.WORKER_BOOT_ERROR
            if isinstance(exc, AppImportError):
                # Its message says it all; what it was made from is Gunicorn's own affair.
                code, exc.__context__ = Arbiter.APP_LOAD_ERROR, None
            elif isinstance(exc, (AppLoadError, ConfigError)):
                self._boot_failed(f"The application can't be loaded: {exc}", Arbiter.APP_LOAD_ERROR)
            self._boot_failed(f"The application can't be loaded: {exc}", code, exc)
        self.notify()

    def _show_failure(self, message: str, exc: BaseException) -> None:
        """Under --reload: serve what went wrong until a file changes."""
        self.log.error("%s; waiting for a change of its files: %s", message, exc, exc_info=exc)
        for path in files_of(exc):
            self.reloader.add_extra_file(path)
        self.wsgi = failure_app(exc)

    def _boot_failed(self, message: str, code: int, exc: BaseException | None = None) -> NoReturn:
        """End this process so that the master ends, with one report however many workers fail."""
        token = UvicornWorker._token
        reports = token is None or token.take()
        if self._succession.spares_the_master():
            self._leave_to_others(message, reports, exc)
        if token is not None and not reports:
            deadline = time.monotonic() + _WAIT_FOR_MASTER
            while not self.server.should_exit and self.ppid == os.getppid() and time.monotonic() < deadline:
                self.notify()
                time.sleep(0.05)
            if not self.server.should_exit:
                # Its signal came before this process could take it, or the one that was to report was killed.
                token.give_back()
            sys.exit(0)
        self.log.error(message, exc_info=exc)
        if token is not None:
            token.wait_for_forks()
        sys.exit(code)

    def _leave_to_others(self, message: str, reports: bool, exc: BaseException | None) -> NoReturn:
        """A worker that can't boot while others serve is no reason to end the service."""
        pause = self._succession.failed(reports)
        if reports:
            self.log.error("%s. Other workers serve on; this one leaves after %g s.", message, pause, exc_info=exc)
        deadline = time.monotonic() + pause
        while not self.server.should_exit and self.ppid == os.getppid() and time.monotonic() < deadline:
            self.notify()
            time.sleep(0.05)
        if reports and UvicornWorker._token is not None:
            UvicornWorker._token.give_back()
        sys.exit(0)

    @property
    def age(self) -> int:
        """By which the master tells who is older; that of a new worker where this one stays in its place."""
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
        loop = self.loop
        # The loop watches for signals by itself; Gunicorn's pipe has no reader.
        signal.set_wakeup_fd(-1)
        try:
            loop.run_until_complete(self._serve())
        except SystemExit as exc:
            if self.server.started and not isinstance(exc, ProcessExit):
                self.log.error(
                    "The application has called sys.exit(%r) outside of a request: this worker ends", exc.code
                )
                if exc.code in _BOOT_CODES:
                    # They would tell the master that no worker can boot.
                    raise ProcessExit(1) from exc
            raise
        finally:
            self._close_loop()
            server = self.server
            exit_by = time.monotonic() + _QUICK_EXIT if server.force_exit else server.exit_by
            leave_in_time(self.log, exit_by, 1 if self._aborted else 0)

    async def _serve(self) -> None:
        self._beat()
        if self.cfg.timeout:
            self._stall_watch = StallWatch(self.cfg.timeout, lambda: self._beaten, self._report_stall)
            self._stall_watch.start()
        # Gunicorn's reloader writes to this pipe from a thread of its own.
        self.loop.add_reader(self.PIPE[0], self._reload_asked)
        try:
            await self._startup()
        except LifespanError as exc:
            if not self.cfg.reload:
                self._boot_failed(f"The application can't be started: {exc}", Arbiter.WORKER_BOOT_ERROR, exc.__cause__)
            self._show_failure("The application can't be started", exc)
            await self._startup()
        except ConfigError as exc:
            self._boot_failed(str(exc), Arbiter.WORKER_BOOT_ERROR, exc.__cause__)
        except Exception as exc:  # noqa: BLE001 - reported, and the master ends
            self._boot_failed(f"The application can't be started: {exc}", Arbiter.WORKER_BOOT_ERROR, exc)
        if self.server.started:
            self._succession.serving()
            await self.server.wait_for_exit()
            self._succession.ends()
            # The server accepts from duplicates: as long as ours were open, clients would queue up in vain.
            for listener in [*self.sockets, *self._shared]:
                listener.close()
        await self.server.shutdown(_RELOAD_SECONDS if self._reloading else None)

    async def _startup(self) -> None:
        await self.server.startup(
            with_hooks(self.wsgi, self),
            [listener.sock for listener in self._shared],
            access=lambda: access_hook(self.log, self.cfg, self.server.config),
            own=[] if self.sockets is self._shared else [listener.sock for listener in self.sockets],
        )

    def _reload_asked(self) -> None:
        """A source file has changed, and `alive` says so."""
        self.loop.remove_reader(self.PIPE[0])
        if not self.alive:
            self._reloading = True
            self.server.should_exit = True

    def _holds_exit(self) -> bool:
        """Whether TERM is put off, since the worker that takes this one's place does not serve yet."""
        if not self._succession.holds():
            self._succession.told()
            return False
        if not self._held:
            self._held = True
            self.log.debug("Told to leave: serving on until a new worker has started.")
            self.loop.call_soon_threadsafe(self._succession.watch, self.loop, self._let_go, self.log)
        return True

    def _let_go(self, stays: bool) -> None:
        """What TERM asked for is done, or not at all."""
        self._held = False
        if not stays:
            self._succession.told()
            self.server.holds_exit = None
            self.server.handle_exit(signal.SIGTERM, None)

    def _close_loop(self) -> None:
        loop = self.loop
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_SECONDS))
            closing = loop.create_task(loop.shutdown_asyncgens())
            loop.run_until_complete(asyncio.wait([closing], timeout=_CANCEL_SECONDS))
        finally:
            if self._stall_watch is not None:
                self._stall_watch.stop()
            asyncio.set_event_loop(None)
            loop.close()

    # Heartbeat ---------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Tell the master that the loop turns; see whether the master is still there."""
        now = time.monotonic()
        if now >= self._notify_at:
            self._notify_at = now + self._notify_interval
            self.notify()
            self._callback_notify()
        if self.alive and self.ppid != os.getppid():
            self.alive = False
            self.log.info("Parent changed, shutting down: %s", self)
            self.server.should_exit = True
        self.loop.call_later(min(_HEARTBEAT, self._notify_interval), self._beat)

    def notify(self) -> None:
        """Tell the master that this process is well; until it serves, it may be silent for timeout_startup."""
        super().notify()
        self._beaten = time.monotonic()
        if self._quiet_until > self._beaten + self.cfg.timeout and not self.server.started:
            self._beaten = last = self._quiet_until - self.cfg.timeout
            os.utime(self.tmp.fileno(), (last, last))

    # Signals -----------------------------------------------------------------------------------------

    def init_signals(self) -> None:
        """TERM stops gracefully, INT and QUIT at once, USR1 reopens logs, ABRT ends a blocked worker."""
        handlers: dict[int, Any] = {
            signal.SIGTERM: self.server.handle_exit,
            signal.SIGINT: self.handle_quit,
            signal.SIGQUIT: self.handle_quit,
            signal.SIGUSR1: self.handle_usr1,
            signal.SIGABRT: self.handle_abort,
            # A handler rather than SIG_IGN, which the programs that the application starts would inherit.
            signal.SIGHUP: self.handle_ignored,
            signal.SIGUSR2: self.handle_ignored,
            signal.SIGWINCH: self.handle_ignored,
            signal.SIGCHLD: signal.SIG_DFL,
        }
        for sig, handler in handlers.items():
            signal.signal(sig, handler)
            if handler is not signal.SIG_DFL:
                signal.siginterrupt(sig, False)
        enable_trace(self.log.error_log)
        for sig in self._early_signals:
            signal.raise_signal(sig)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: cut what is under way and leave."""
        if self.server.force_exit:
            return
        self.alive = False
        self.server.force_exit = True
        self.cfg.worker_int(self)
        if not self.loop.is_running():
            sys.exit(0)

    def handle_abort(self, sig: int, frame: FrameType | None) -> NoReturn:
        """ABRT: the master had no heartbeat; faulthandler has written the stacks already."""
        self.alive = False
        if self._stall_watch is not None:
            self._stall_watch.report()
        else:
            self._report_stall()
        code: Any = 1
        try:
            self.cfg.worker_abort(self)
        except SystemExit as exc:
            code = exc.code
        # Should something take the exception for its own (uvloop does, in what a transport calls): leave all the same.
        self.server.force_exit = self._aborted = True
        raise ProcessExit(1 if code in _BOOT_CODES else code)

    def _report_stall(self) -> None:
        """Say for how long the loop has stood still, and what was in flight."""
        self.log.critical("%s", describe_stall(self.server, time.monotonic() - self._beaten))

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files, from which the stacks of an abort must go to the new one."""
        super().handle_usr1(sig, frame)
        enable_trace(self.log.error_log)

    def handle_ignored(self, sig: int, frame: FrameType | None) -> None:
        """HUP, USR2 and WINCH are the master's."""


class UvicornH11Worker(UvicornWorker):
    """The same on asyncio and h11: for PyPy, and where no C extension is wanted."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}


class UvicornH2CWorker(UvicornWorker):
    """The same with HTTP/2 beside HTTP/1.1: in cleartext (h2c) and, where there are certificates, by ALPN."""

    _DEFAULTS: ClassVar[dict[str, Any]] = {"http2": "on", "http2_cleartext": "both"}
