"""`ChangeReload`: a process that watches files, and another that serves and is replaced when one has changed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn_worker.cli.brought import RELOADS, remember
from uvicorn_worker.cli.reloading import forget_compiled, listed, shown
from uvicorn_worker.cli.watching import LOOK_SECONDS, Choice, Watcher, watches_by, where_to_look
from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import HANDLED_SIGNALS, handled
from uvicorn_worker.supervisors.child import Process, Target

__all__ = ["ChangeReload", "FileFilter"]

# As watchfiles' `Change` has them.
_MODIFIED, _DELETED = 2, 3


class FileFilter(Choice):
    """Which files count by the options of a Config: `FileFilter(config)(path)`, with the whole path."""

    def __init__(self, config: Config, files: Sequence[str] = ()) -> None:
        super().__init__(listed(config.reload_includes), listed(config.reload_excludes), files)


class _Asked(FileFilter):
    """Those that somebody else lets pass."""

    def __init__(self, config: Config, files: Sequence[str], lets_pass: Callable[[Path], bool]) -> None:
        super().__init__(config, files)
        self._lets_pass = lets_pass

    def __call__(self, path: Path) -> bool:
        return bool(self._lets_pass(path))


class ChangeReload:
    """Watches the folders of the Config; `run()` returns after SIGINT or SIGTERM, or once `should_exit` is set.

    A subclass writes its steps anew, by the names that uvicorn has for them:

        startup()            the process that serves is started
        should_restart()     asked again and again: what has changed, or None; StopIteration is the end
        pause()              before each look, where it is written anew; raises StopIteration at the end
        restart()            something has
        shutdown()           that process is ended, and the sockets are closed
    """

    def __init__(self, config: Config, target: Target, sockets: Sequence[Any]) -> None:
        self.config = config
        self.target = target
        self.sockets = sockets
        self.should_exit = threading.Event()
        self.pid = os.getpid()
        self.process: Process
        """What serves, from `startup()` on."""
        self.is_restarting = False
        """Of interest on Windows alone, where a subclass may ask for it."""
        self.reloader_name: str | None = watches_by()
        """What watches."""
        self._own_log = logging.getLogger("uvicorn.error")
        self.reload_dirs, self._own_files = where_to_look(listed(config.reload_dirs))
        self._own_files = [*self._own_files, *listed(config.env_file)]
        self.watch_filter: Callable[[Path], bool] = FileFilter(config, self._own_files)
        """Which files count; a subclass may assign another."""
        self.watcher: Iterator[set[tuple[Any, str]]] | None = None
        """What has changed, again and again, as watchfiles tells it: from the first look on, or what is assigned."""

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """It is to end."""
        self.should_exit.set()

    def run(self) -> None:
        """Until then."""
        with handled(dict.fromkeys(HANDLED_SIGNALS, self.signal_handler)):
            self._own_watch()
            self.startup()
            for changed in self:
                if self.should_exit.is_set():
                    break
                if changed:
                    names = ", ".join(shown(path) for path in changed)
                    self._own_log.warning("%s detected changes in %s. Reloading...", self.reloader_name, names)
                    for path in changed:
                        forget_compiled(path)
                    self.restart()
            self.shutdown()

    def _own_watch(self) -> None:
        self._own_say_folders()
        if self.watcher is not None:
            return
        choice = self.watch_filter
        if not isinstance(choice, Choice):
            choice = _Asked(self.config, self._own_files, choice)
        watcher = Watcher(self.reload_dirs, choice, self.config.reload_delay, self.should_exit)
        self.reloader_name = watcher.name
        self.watcher = ({(_kind(path), str(path)) for path in found} for found in watcher)

    def _own_say_folders(self) -> None:
        self._own_log.info("Will watch for changes in these directories: %s", sorted(map(str, self.reload_dirs)))

    def __iter__(self) -> Iterator[Sequence[Path] | None]:
        return self

    def __next__(self) -> Sequence[Path] | None:
        return self.should_restart()

    def should_restart(self) -> Sequence[Path] | None:
        """The files that have changed; None a few times a second where none has. Raises StopIteration at the end."""
        if type(self).pause is not _PAUSE:
            self.pause()
        if self.watcher is None:
            # A `run()` of somebody's own has begun.
            self._own_watch()
        changed = {Path(path) for _, path in next(self.watcher or iter(()))}
        return sorted(path for path in changed if self.watch_filter(path)) or None

    def pause(self) -> None:
        """For a `should_restart()` that looks by itself: wait for reload_delay. Raises StopIteration at the end."""
        if self.should_exit.wait(self.config.reload_delay or LOOK_SECONDS):
            raise StopIteration

    def startup(self) -> None:
        """Start the process that serves."""
        self._own_log.info("Started reloader process [%d] using %s", self.pid, self.reloader_name)
        self.process = Process(self.config, self.target, self.sockets).start()

    def restart(self) -> None:
        """Another takes its place."""
        self.process.terminate()
        self.process.join()
        self.process = Process(self.config, self.target, self.sockets).start()

    def shutdown(self) -> None:
        """End it, and close the sockets."""
        self.process.terminate()
        self.process.join()
        for sock in self.sockets:
            sock.close()
        self._own_log.info("Stopping reloader process [%d]", self.pid)


# A program that puts a step of its own into it changes what `run()` and the command reload by.
remember(RELOADS, ChangeReload)
_PAUSE = ChangeReload.pause


def _kind(path: Path) -> int:
    return _MODIFIED if path.exists() else _DELETED
