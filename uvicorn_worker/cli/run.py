"""`run()`: serve an application until the end, as the command does.

one process                  this process serves, so that debuggers, breakpoint() and Ctrl+C behave
reload                       this process watches files, and has another that serves
workers > 1                  Gunicorn with our worker and our master
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from uvicorn_worker.cli.brought import PROCESSES, RELOADS, assigned, brought
from uvicorn_worker.cli.masters import Master, check_places, needs_master, run_brought, run_master
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.errors import STARTUP_FAILURE, AppLoadError, BindError, ConfigError, LifespanError
from uvicorn_worker.core.forked import end_process
from uvicorn_worker.core.garbage import leave_without_a_search, search_as_newer_pythons
from uvicorn_worker.http1.parsers import check_parser
from uvicorn_worker.logs.formatters import LOGGING_CONFIG, usual_config
from uvicorn_worker.logs.levels import set_levels
from uvicorn_worker.logs.log_config import apply_log_config
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.alone import report_alone
from uvicorn_worker.server.binding import bind
from uvicorn_worker.server.config import LOAD_APP, options_as_parameters
from uvicorn_worker.server.failures import users_traceback
from uvicorn_worker.server.loading import NOT_LOADED, absolute, is_made_late, load_app
from uvicorn_worker.server.readiness import ready_of
from uvicorn_worker.server.running import check_no_loop, run_in
from uvicorn_worker.server.surroundings import Surroundings, say_failed_lifespan
from uvicorn_worker.tls.contexts import check_tls

__all__ = ["FAILURE", "CommandConfig", "MasterEnded", "check", "launch", "run"]

# Where --port auto begins, and how many it looks at.
_USUAL_PORT = 8000
_PORTS = 100

# What the command has beside the options of `Config`.
_BESIDE = frozenset(
    {"config", "dev_cert", "gunicorn", "log_format", "pid_file", "preload", "uds_permissions", "worker_class"}
)

FAILURE = 1
"""The exit code where the application's import raises, a certificate does not fit, or a reloader's address is taken."""


_AT_IMPORT = (
    "run() is called again by a process that it has started, which imports the module: write it below "
    "if __name__ == '__main__':"
)
# The processes that have Gunicorn's master run here, of which workers are forked.
_started: set[int] = set()


class CommandConfig(Config):
    """The options of the command, which sets logging up in the process that serves."""

    own_logs_at_once = False

    def load_app(self) -> ASGIApp:
        """Import the application again, and give it; who calls it says what it raises."""
        return load_app(self) if Config.load_app is LOAD_APP else super().load_app()


def run(app: Any, **options: Any) -> None:
    """Serve `app`, an application or 'module:attribute', with the options of `Config`, until a signal or a limit.

    Returns after Ctrl+C; what fails at the start is said in the log, and is a SystemExit with `STARTUP_FAILURE` or
    `FAILURE`. Raises `ConfigError` for an option that can't be used.
    """
    owner, master = os.getpid(), None
    if not _BESIDE.isdisjoint(options):
        from uvicorn_worker.cli.beside import listed, master_of, special

        # Somebody's command with the parameters of ours (`main.params`), which hands on all of them.
        options = listed(options)
        master = master_of(options)
        special({}, options, dict.fromkeys(options, ""))
    try:
        launch(app, options, master)
    except SystemExit as exc:
        if os.getpid() != owner:
            # A worker, which was forked: what its caller does after `run()`, or with a SystemExit, is for the master.
            end_process(exc.code)
        if not isinstance(exc, MasterEnded):
            raise


class MasterEnded(SystemExit):
    """Gunicorn has ended as it was told to."""


run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("app", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        *options_as_parameters(log_config=LOGGING_CONFIG),
    ]
)


def launch(app: Any, options: dict[str, Any], master: Master | None = None, said: Collection[str] = ()) -> None:
    """The same, under Gunicorn where `master` asks for it; of its configuration file those in `said` win."""
    began = time.monotonic()
    hold_standard_files()
    master = master or Master()
    config = prepare(app, options)
    if (config.reload or needs_master(config, master)) and _is_called_at_import():
        set_up_logging(config)
        logging.getLogger("uvicorn.error").error("%s", _AT_IMPORT)
        sys.exit(FAILURE)
    if needs_master(config, master):
        _serve_with_master(config, said, master)
    set_up_logging(config)
    with pid_file(master.pid_file):
        if config.reload:
            _reload(config, master.uds_mode)
        else:
            _serve(config, began, master.uds_mode)


def _is_called_at_import() -> bool:
    """Whether this is a process that `run()` has started, and that imports the module in which `run()` is called."""
    # What a worker has forked in its turn may have servers of its own.
    if os.getppid() in _started:
        return True
    # What multiprocessing asks before it starts a process.
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(getattr(process.current_process(), "_inheriting", False))


def hold_standard_files() -> None:
    """Open what is closed of stdin, stdout and stderr, so that no socket gets its number: libuv aborts for that.

    What a program writes there that the application starts would go to a client.
    """
    if os.name != "posix":
        return
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest one that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _serve_with_master(config: Config, said: Collection[str], master: Master) -> NoReturn:
    try:
        check_places(config, master)
    except (BindError, ConfigError) as exc:
        set_up_logging(config)
        logging.getLogger("uvicorn.error").error("%s", exc)
        sys.exit(FAILURE)
    theirs = brought(PROCESSES)
    if theirs is not None and master == Master(pid_file=master.pid_file, uds_mode=master.uds_mode):
        set_up_logging(config)
        with pid_file(master.pid_file):
            run_brought(theirs, config, master)
        raise MasterEnded(0)
    owner = os.getpid()
    _started.add(owner)
    try:
        run_master(config, said, master)
    except SystemExit as exc:
        raise (exc if exc.code else MasterEnded(0)) from None
    finally:
        _started.discard(owner)


def prepare(app: Any, options: dict[str, Any]) -> Config:
    """The configuration, with what the command has beside its options; raises `ConfigError`."""
    app_dir = options.get("app_dir")
    # Before the module: a file of the environment is read by what imports it.
    sys.path.insert(0, absolute(app_dir or ""))
    if options.get("port") == "auto":
        options["port"] = free_port(options.get("host", "127.0.0.1"))
    kind = assigned("Config") or CommandConfig
    return kind(app, **{"log_config": usual_config(options.get("access_log_format")), **options})


def check(app: Any, options: dict[str, Any]) -> None:
    """Whether it could be served: raises `ConfigError`, `AppLoadError`, and what the import of the application does."""
    config = prepare(app, options)
    check_tls(config)
    check_parser(config)
    factory = config.get_loop_factory()
    if is_made_late(config):
        run_in(factory, _load(config))
    else:
        config.load()


async def _load(config: Config) -> None:
    """Where a loop runs, as a factory may need it."""
    config.load()


def free_port(host: str | None) -> int:
    """The usual port, or the first one after it that is free; 0 where none is."""
    for port in range(_USUAL_PORT, _USUAL_PORT + _PORTS):
        try:
            bind(host, port, None, None).close()
        except BindError:
            continue
        return port
    return 0


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Write the process id to a file, which is taken away at the end; raises `ConfigError`."""
    if path is None:
        yield
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as exc:
        raise ConfigError(f"option pid = {path!r}: can't be written: {exc.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def set_up_logging(config: Config) -> None:
    """uvicorn's lines, in its colours; `log_config = None` leaves logging to the application."""
    apply_log_config(config.log_config, config.use_colors)
    set_levels(config)
    if not config.access_log:
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False
    unblock_handlers()


def _serve(config: Config, began: float, uds_mode: int | None) -> None:
    check_no_loop()
    log = logging.getLogger("uvicorn.error")
    surroundings: Any = _CommandSurroundings(began, uds_mode)
    config.own_surroundings = surroundings
    search_as_newer_pythons()
    server: Server | None = None
    # Before the application is imported: what that registers for the end comes first.
    leave_without_a_search(lambda: bool(getattr(server, "own_captured", None)))
    try:
        if Config.load_app is not LOAD_APP or not is_made_late(config):
            config.load()
    except Exception as exc:  # noqa: BLE001 - an import raises what it likes
        _end_failed(exc, log, is_loaded=False)
    log.info("Started server process [%d]", os.getpid())
    surroundings.app = config.app
    server = (assigned("Server") or Server)(config)
    try:
        report_alone(server)
        server.run()
    except KeyboardInterrupt:
        pass
    except Exception as exc:  # noqa: BLE001 - as does a factory
        _end_failed(exc, log, is_loaded=exc is not surroundings.unloaded)
    if not (server.started or server.own_captured):
        # Nobody has asked for its end: a step of the program's own has given up, and has said why.
        sys.exit(STARTUP_FAILURE)
    log.info("Finished server process [%d]", os.getpid())
    if surroundings.terminated:
        sys.exit(0)


def _end_failed(exc: Exception, log: logging.Logger, *, is_loaded: bool) -> NoReturn:
    """There is no application, or it can't be served: say why, and exit with the code for it."""
    if not is_loaded and isinstance(exc, (AppLoadError, ConfigError)):
        log.error(NOT_LOADED, exc)
        sys.exit(STARTUP_FAILURE)
    if not is_loaded:
        log.error("The application can't be loaded.\n%s", users_traceback(exc).rstrip())
        sys.exit(FAILURE)
    if not isinstance(exc, (BindError, ConfigError, LifespanError)):
        raise exc
    if not isinstance(exc, LifespanError):
        # That was said.
        log.error("%s", exc)
    sys.exit(FAILURE if isinstance(exc, ConfigError) else STARTUP_FAILURE)


class _CommandSurroundings(Surroundings):
    """Logging was set up before the application was loaded; what is ready is said."""

    # That of Ctrl+C before it serves has ended, too.
    says_process = False

    def __init__(self, began: float, uds_mode: int | None) -> None:
        self._began = began
        self._uds_mode = uds_mode
        self.terminated = False
        self.app: Any = None
        self.unloaded: Exception | None = None

    def load(self, config: Any) -> Any:
        """It was loaded before, but for what a factory makes, and what somebody who wraps `Server` has put there."""
        try:
            if config.app is not self.app:
                self.app = config.app
                config.load()
            return super().load(config)
        except Exception as exc:
            self.unloaded = exc
            raise

    def set_up_logging(self, config: Any) -> None:
        """See above."""

    def raise_again(self, sig: int) -> None:
        """After TERM the process comes to its end by itself, and does what is to be done then."""
        if sig == signal.SIGTERM and signal.getsignal(sig) is signal.SIG_DFL:
            self.terminated = True
        else:
            super().raise_again(sig)

    def begins(self, server: Any) -> None:
        """The path is bound next."""
        server.own_uds_mode = self._uds_mode

    def failed(self, exc: BaseException) -> BaseException:
        """The rest is said at the end, which has exit codes of its own."""
        if isinstance(exc, LifespanError):
            say_failed_lifespan(exc)
        return exc

    def started(self, server: Any) -> None:
        """It accepts connections."""
        server.own_log.info("%s", ready_of(server, time.monotonic() - self._began))


def _reload(config: Config, uds_mode: int | None) -> None:
    from uvicorn_worker.cli.reloading import Reloader, reload_by

    log = logging.getLogger("uvicorn.error")
    if not config.should_reload:
        log.warning(
            "To reload, the application must be named, as 'module:attribute': an object can't be imported anew."
        )
        sys.exit(FAILURE)
    if config.workers > 1:
        log.warning("One process serves, since --reload is on: --workers = %d has no effect.", config.workers)
    theirs = brought(RELOADS)
    code = 0
    try:
        if theirs is not None:
            reload_by(theirs, config, uds_mode)
        else:
            code = Reloader(config, set_up_logging, uds_mode).run()
    except (BindError, ConfigError, OSError) as exc:
        log.error("%s", exc)
        sys.exit(FAILURE)
    if code:
        sys.exit(code)
