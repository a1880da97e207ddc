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
from uvicorn_worker.supervisors.child import Process, Target, by_target

__all__ = ["Multiprocess", "Process"]

# How often it is looked for signals and for processes that have ended, in seconds.
_LOOK_SECONDS = 0.2
# So many in a row that fail so soon don't get any better.
_FAILURES = 3
_SOON_SECONDS = 10.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTTIN", "SIGTTOU")


class Multiprocess:
    """`config.workers` processes; `run()` returns after SIGINT or SIGTERM, or once `should_exit` is set.

    Without a `target` each has a Server of its own, as with uvicorn from 0.51 on. A subclass writes the steps anew, by
    the names that uvicorn has for them:

        init_processes()            the processes are started
        keep_subprocess_alive()     asked again and again: those that have ended are replaced
        handle_hup() and others     what a signal does
        terminate_all(), join_all() the end
    """

    def __init__(self, config: Config, target: Any = None, sockets: Sequence[Any] = ()) -> None:
        self.config = config
        self.target: Target | None
        self.target, self.sockets = by_target(target, sockets)
        self.should_exit = threading.Event()
        self.processes_num = config.workers
        self.processes: list[Process] = []
        self.signal_queue: deque[int] = deque()
        """What has come and was not done yet; what is appended counts as much."""
        self._failures = 0
        self._log = logging.getLogger("uvicorn.error")

    def run(self) -> None:
        """Until then."""
        # Only there can they be handled; whoever runs it elsewhere ends it by `should_exit` or `signal_queue`.
        names = _NAMES if threading.current_thread() is threading.main_thread() else ()
        known = [signal.Signals[name] for name in names if hasattr(signal, name)]
        with handled({sig: lambda number, frame: self.signal_queue.append(signal.Signals(number)) for sig in known}):
            self._log.info("Started parent process [%d]", os.getpid())
            self.init_processes()
            while not self.should_exit.wait(_LOOK_SECONDS):
                self.handle_signals()
                self.keep_subprocess_alive()
            self.terminate_all()
            self.join_all()
            self._log.info("Stopping parent process [%d]", os.getpid())

    def _start(self) -> Process:
        return Process(self.config, self.target, self.sockets).start()

    def init_processes(self) -> None:
        """Start them, into `processes`."""
        self.processes += [self._start() for _ in range(self.processes_num)]

    def terminate_all(self) -> None:
        """Tell all of them to end."""
        for process in self.processes:
            process.terminate()

    def join_all(self) -> None:
        """Wait until they have."""
        for process in self.processes:
            process.join()

    def restart_all(self) -> None:
        """Replace one after the other."""
        for place, process in enumerate(self.processes):
            process.terminate()
            process.join()
            self.processes[place] = self._start()

    def handle_signals(self) -> None:
        """Do what the signals ask for that have come, by the method that is named for each."""
        while self.signal_queue:
            sig = signal.Signals(self.signal_queue.popleft())
            getattr(self, f"handle_{sig.name[3:].lower()}")()

    def handle_int(self) -> None:
        """The end."""
        self._log.info("Received SIGINT, exiting.")
        self.should_exit.set()

    def handle_term(self) -> None:
        """The end, too."""
        self._log.info("Received SIGTERM, exiting.")
        self.should_exit.set()

    def handle_hup(self) -> None:
        """All are replaced."""
        self._log.info("Received SIGHUP, restarting processes.")
        self.restart_all()

    def handle_ttin(self) -> None:
        """One more."""
        self.processes_num += 1
        self.processes.append(self._start())

    def handle_ttou(self) -> None:
        """One less."""
        if self.processes_num > 1:
            self.processes_num -= 1
            process = self.processes.pop()
            process.terminate()
            process.join()

    def keep_subprocess_alive(self) -> None:
        """Replace those that have ended, but for such as can't start."""
        for place, process in enumerate(self.processes):
            if process.exitcode is None or self.should_exit.is_set():
                continue
            failed = process.exitcode > 0 and process.seconds < _SOON_SECONDS
            self._failures = self._failures + 1 if failed else 0
            if process.exitcode == STARTUP_FAILURE or self._failures >= _FAILURES:
                self._log.error("Child process [%d] failed to start, stopping the parent process.", process.pid)
                self.should_exit.set()
                return
            self._log.info("Child process [%d] died", process.pid)
            self.processes[place] = self._start()
