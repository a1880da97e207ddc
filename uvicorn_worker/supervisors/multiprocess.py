"""`Multiprocess`: several processes that serve on the same sockets, each replaced when it ends.

HUP          one after the other is replaced
TTIN, TTOU   one more, one less
INT, TERM    the end
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.cli.run import STARTUP_FAILURE
from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import handled
from uvicorn_worker.supervisors.child import Process, Target

__all__ = ["Multiprocess", "Process"]

# How often it is looked for signals and for processes that have ended, in seconds.
_LOOK_SECONDS = 0.2
# So many in a row that fail so soon don't get any better.
_FAILURES = 3
_SOON_SECONDS = 10.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTTIN", "SIGTTOU")


class Multiprocess:
    """`config.workers` processes; `run()` returns after SIGINT or SIGTERM, or once `should_exit` is set.

    Without a `target` each has a Server of its own, as with uvicorn from 0.51 on.
    """

    def __init__(self, config: Config, target: Any = None, sockets: Sequence[Any] = ()) -> None:
        if target is not None and not callable(target):
            # By position, as from 0.51 on.
            target, sockets = None, target
        self.config = config
        self.target: Target | None = target
        self.sockets = sockets
        self.should_exit = threading.Event()
        self.processes_num = config.workers
        self.processes: list[Process] = []
        self._signals: deque[signal.Signals] = deque()
        self._failures = 0
        self._log = logging.getLogger("uvicorn.error")

    def run(self) -> None:
        """Until then."""
        known = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
        with handled({sig: lambda number, frame: self._signals.append(signal.Signals(number)) for sig in known}):
            self._log.info("Started parent process [%d]", os.getpid())
            self.init_processes()
            while not self.should_exit.wait(_LOOK_SECONDS):
                while self._signals:
                    self._act(self._signals.popleft())
                self._replace_ended()
            self.terminate_all()
            self.join_all()
            self._log.info("Stopping parent process [%d]", os.getpid())

    # A subclass may write these anew.

    def init_processes(self) -> None:
        """Start as many as there are to be."""
        for _ in range(self.processes_num):
            self.processes.append(self._start())

    def terminate_all(self) -> None:
        """Tell all of them to end."""
        for process in self.processes:
            process.terminate()

    def join_all(self) -> None:
        """Wait for the end of all that were told."""
        for process in self.processes:
            process.join()

    def restart_all(self) -> None:
        """Replace one after the other."""
        for place, process in enumerate(self.processes):
            process.terminate()
            process.join()
            self.processes[place] = self._start()

    def _start(self) -> Process:
        process = Process(self.config, self.target, self.sockets)
        process.start()
        return process

    def _act(self, sig: signal.Signals) -> None:
        if sig in (signal.SIGINT, signal.SIGTERM):
            self._log.info("Received %s, exiting.", sig.name)
            self.should_exit.set()
        elif sig.name == "SIGHUP":
            self._log.info("Received SIGHUP, restarting processes.")
            self.restart_all()
        elif sig.name == "SIGTTIN":
            self.processes_num += 1
            self.processes.append(self._start())
        elif self.processes_num > 1:
            self.processes_num -= 1
            child = self.processes.pop()
            child.terminate()
            child.join()

    def _replace_ended(self) -> None:
        for place, child in enumerate(self.processes):
            if child.exitcode is None or self.should_exit.is_set():
                continue
            failed = child.exitcode > 0 and child.seconds < _SOON_SECONDS
            self._failures = self._failures + 1 if failed else 0
            if child.exitcode == STARTUP_FAILURE or self._failures >= _FAILURES:
                self._log.error("Child process [%d] failed to start, stopping the parent process.", child.pid)
                self.should_exit.set()
                return
            self._log.info("Child process [%d] died", child.pid)
            self.processes[place] = self._start()
