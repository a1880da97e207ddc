"""`--reload`: one process watches files and keeps the sockets, another serves, and is replaced when a file changes.

    a file changes ─► the serving process: no more connections, 1012 to WebSockets, http.disconnect to streams
                 └──► the next one: imports the application ─► the one before is gone ─► lifespan startup ─► serves

The sockets stay open in the watching process, so that a browser that asks meanwhile waits, and is answered by the new
code. What can't be loaded is shown as a page, until the next change. On Linux the next process is forked from this one,
which takes a few milliseconds; where this one has imported a module of the watched folders, as it has when `run()` was
called by a script, that would go on living in it, so a new interpreter is started.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn_worker.board.board import Board, Slot
from uvicorn_worker.board.ends import RELOAD, bury
from uvicorn_worker.cli.reloaded import RELOAD_SIGNAL, STOP_SECONDS, serve_until_told
from uvicorn_worker.cli.watching import Choice, Watcher, where_to_look
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.binding import bind, urls_of
from uvicorn_worker.server.failures import is_users
from uvicorn_worker.tls.asked import tls_is_on

__all__ = ["Reloader", "forget_compiled", "listed", "reload_by", "shown"]

# How long after its time a process may take to end before it is killed.
_KILL_SECONDS = 1.0
# How many signals end all of it at once.
_IMPATIENT = 2
# Of the processes that serve.
_ages = itertools.count(1)


# The script that Python runs, and its name in a process of multiprocessing.
_SCRIPT = frozenset({"__main__", "__mp_main__"})


def reload_by(kind: Any, config: Config, uds_mode: int | None = None) -> None:
    """Until a signal, by a class that is made as uvicorn's `ChangeReload`. Raises `BindError` and `ConfigError`."""
    bound = bind(config.host, config.port, config.uds, config.fd, uds_mode)
    try:
        for sock in bound.sockets:
            sock.listen(config.backlog)
        kind(config, target=Server(config).run, sockets=bound.sockets).run()
    finally:
        bound.close()


class Reloader:
    """Watches, and keeps one process that serves."""

    def __init__(self, config: Config, set_up: Callable[[Config], None], uds_mode: int | None = None) -> None:
        """`set_up` is called in a new interpreter before it loads the application, for its logging."""
        self._uds_mode = uds_mode
        self._config = config
        self._set_up = set_up
        self._log = logging.getLogger("uvicorn.error")
        self._stop = threading.Event()
        self._signals = 0
        self._sockets: Sequence[socket.socket] = ()
        self._process: _Process | None = None
        self._folders, files = where_to_look(listed(config.reload_dirs))
        files += listed(config.env_file)
        self._choice = Choice(listed(config.reload_includes), listed(config.reload_excludes), files)
        self._anew = self._starts_anew()

    def run(self) -> int:
        """Until a signal; gives the exit code. Raises `BindError` and `ConfigError`."""
        config, secure = self._config, tls_is_on(self._config)
        bound = bind(config.host, config.port, config.uds, config.fd, self._uds_mode)
        self._sockets = bound.sockets
        try:
            for sock in bound.sockets:
                # From now on clients wait, and are not refused, whatever becomes of the processes that serve.
                sock.listen(config.backlog)
            for where in urls_of(bound.sockets, config.host, secure=secure):
                self._log.info("Uvicorn running on %s (Press CTRL+C to quit)", where)
            with self._signals_taken():
                self._watch()
        finally:
            bound.close()
        return 0

    def _watch(self) -> None:
        watcher = Watcher(self._folders, self._choice, self._config.reload_delay, self._stop, self._is_alone)
        folders = sorted({str(folder) for folder in [*self._folders, *self._choice.folders]})
        self._log.info("Will watch for changes in these directories: %s", folders)
        self._log.info("Started reloader process [%d] using %s", os.getpid(), watcher.name)
        self._process = self._start(is_first=True)
        for changed in watcher:
            if self._stop.is_set():
                break
            if changed:
                names = ", ".join(shown(path) for path in sorted(changed))
                self._log.warning("%s detected changes in %s. Reloading...", watcher.name, names)
                self._replace(changed)
            elif self._is_alone():
                self._ended(self._process.exitcode)
        self._end()
        self._log.info("Stopping reloader process [%d]", os.getpid())

    def _start(self, *, is_first: bool) -> _Process:
        return _Process(self._config, self._set_up, self._sockets, self._anew, is_first)

    def _replace(self, changed: Collection[Path]) -> None:
        before = self._process
        if before is not None:
            before.leave()
        for path in changed:
            forget_compiled(path)
        self._process = self._start(is_first=False)
        if before is not None:
            before.wait(STOP_SECONDS + _KILL_SECONDS)
        self._process.go()

    def _is_alone(self) -> bool:
        """Whether the serving process has ended without having been told, and nothing was done about it."""
        process = self._process
        return process is not None and not process.end_was_said and process.has_ended()

    def _ended(self, code: int | None) -> None:
        if code == 0:
            # By a limit.
            self._replace(())
        elif self._process is not None:
            self._process.end_was_said = True
            self._log.error("The server process has ended with code %s; waiting for a change.", code)

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        process.signal(signal.SIGTERM)
        while not process.has_ended():
            if self._signals >= _IMPATIENT:
                process.signal(signal.SIGINT)
                process.wait(STOP_SECONDS + _KILL_SECONDS)
                return
            time.sleep(0.02)

    def _starts_anew(self) -> bool:
        """Whether a new interpreter is to be started each time.

        What is forked has the script that called `run()` as it was then: nonebot.run("__mp_main__:app") names that.
        """
        if not sys.platform.startswith("linux") or _module_of(self._config.app) in _SCRIPT:
            return True
        folders = {*self._folders, *self._choice.folders}
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        return any(file and is_users(file) and not folders.isdisjoint(Path(file).absolute().parents) for file in files)

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        before = {sig: signal.signal(sig, self._heard) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _heard(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._stop.set()


def _module_of(app: Any) -> str:
    return app.partition(":")[0] if isinstance(app, str) else ""


class _Process:
    """One process that serves."""

    def __init__(
        self,
        config: Config,
        set_up: Callable[[Config], None],
        sockets: Sequence[socket.socket],
        anew: bool,
        is_first: bool,
    ) -> None:
        kind: Any = multiprocessing.get_context("spawn" if anew else "fork")
        self.end_was_said = False
        self._was_told = False
        self._pipe, its = kind.Pipe()
        # What was set up for this process is forked with it, and so is this end of the pipe.
        own = (set_up, None) if anew else (None, self._pipe)
        # A new interpreter has none of the memory of this one, and makes a board for itself.
        board: Board | None = None
        self._slot: Slot | None = None
        if not anew:
            board, self._slot = _place()
        arguments = (config, own[0], list(sockets), its, own[1], is_first, board, self._slot)
        self._process = kind.Process(target=serve_until_told, args=arguments)
        with warnings.catch_warnings():
            # Python warns of threads: that which watches has no lock that the process needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        its.close()

    def go(self) -> None:
        """The one before is gone."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(b"go")

    def leave(self) -> None:
        """Another one takes its place. One that does not serve yet has nothing to bring to an end."""
        serves = self._has_said_that_it_serves()
        if self._slot is not None:
            self._slot.wish = RELOAD
        self.signal(RELOAD_SIGNAL)
        if not serves:
            self._process.join(_KILL_SECONDS)
            # It may have begun to serve in the same moment, and has clients then.
            if not self._has_said_that_it_serves():
                self.wait(0)

    def _has_said_that_it_serves(self) -> bool:
        try:
            return bool(self._pipe.poll())
        except OSError:
            return False

    def signal(self, sig: int) -> None:
        """Send it, where there is somebody to hear it."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, sig)

    def wait(self, seconds: float) -> None:
        """Until it has ended; it is killed after so long."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def has_ended(self) -> bool:
        """Whether it is there no more."""
        return self._process.exitcode is not None

    @property
    def exitcode(self) -> int | None:
        """That of the process, negative for a signal; None while it lives."""
        code: int | None = self._process.exitcode
        return code


def _place() -> tuple[Board, Slot | None]:
    """Where the next process writes how it is: on the board of this one, which the commands for it find."""
    board = Board.of_master()
    bury(board)
    board.wanted = 1
    return board, board.add(next(_ages))


def listed(value: Any) -> list[str]:
    """What may be one path or pattern, several, or nothing."""
    if value is None:
        return []
    return [os.fspath(value)] if isinstance(value, (str, os.PathLike)) else [os.fspath(each) for each in value]


def shown(path: Path) -> str:
    try:
        return f"'{path.relative_to(os.getcwd())}'"
    except ValueError:
        return f"'{path}'"


def forget_compiled(path: Path) -> None:
    """Take away what Python has made of a file: it knows it by its second and size, and both may be those of before."""
    with contextlib.suppress(OSError, NotImplementedError):
        os.unlink(importlib.util.cache_from_source(str(path)))
