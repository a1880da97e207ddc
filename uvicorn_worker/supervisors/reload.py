"""`ChangeReload`: a process that watches files, and another that serves and is replaced when one has changed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn_worker.cli.reloading import forget_compiled, listed, shown
from uvicorn_worker.cli.watching import Choice, Watcher
from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import handled
from uvicorn_worker.supervisors.child import Process, Target

__all__ = ["ChangeReload"]


class ChangeReload:
    """Watches the folders of the Config; `run()` returns after SIGINT or SIGTERM, or once `should_exit` is set."""

    def __init__(self, config: Config, target: Target, sockets: Sequence[Any]) -> None:
        self.config = config
        self.target = target
        self.sockets = sockets
        self.should_exit = threading.Event()
        self._log = logging.getLogger("uvicorn.error")

    def signal_handler(self, sig: int, frame: FrameType | None) -> None:
        """It is to end."""
        self.should_exit.set()

    def run(self) -> None:
        """Until then."""
        config = self.config
        folders = [Path(each).absolute() for each in listed(config.reload_dirs) or [os.getcwd()]]
        choice = Choice(listed(config.reload_includes), listed(config.reload_excludes), listed(config.env_file))
        with handled({signal.SIGINT: self.signal_handler, signal.SIGTERM: self.signal_handler}):
            watcher = Watcher(folders, choice, config.reload_delay, self.should_exit)
            self._log.info("Will watch for changes in these directories: %s", sorted(map(str, folders)))
            self._log.info("Started reloader process [%d] using %s", os.getpid(), watcher.name)
            child = self._start()
            for changed in watcher:
                if self.should_exit.is_set():
                    break
                if changed:
                    names = ", ".join(shown(path) for path in sorted(changed))
                    self._log.warning("%s detected changes in %s. Reloading...", watcher.name, names)
                    for path in changed:
                        forget_compiled(path)
                    child.terminate()
                    child.join()
                    child = self._start()
            child.terminate()
            child.join()
        for sock in self.sockets:
            sock.close()
        self._log.info("Stopping reloader process [%d]", os.getpid())

    def _start(self) -> Process:
        process = Process(self.config, self.target, self.sockets)
        process.start()
        return process
