"""`Multiprocess`: several processes that serve on the same sockets, each replaced when it ends.

HUP          one after the other is replaced, once its replacement serves
TTIN, TTOU   one more, one less
INT, TERM    the end; on Windows BREAK, too
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.cli.brought import PROCESSES, remember
from uvicorn_worker.core.errors import STARTUP_FAILURE
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.surroundings import handled
from uvicorn_worker.supervisors.child import Process, Target, by_target, get_subprocess

__all__ = ["SIGNALS", "STARTUP_FAILURE", "Config", "Multiprocess", "Process", "Server", "get_subprocess", "logger"]

logger = logging.getLogger("uvicorn.error")

# How often it is looked for signals and for processes that have ended, in seconds.
_LOOK_SECONDS = 0.2
# So many in a row that fail so soon don't get any better.
_FAILURES = 3
_SOON_SECONDS = 10.0
# How long a replacement may take to be ready, in seconds, where timeout_worker_healthcheck says nothing.
_READY_SECONDS = 60.0
# For the last four a subclass may have a method; without one they do nothing, as with uvicorn.
_NAMES = (
    "SIGINT", "SIGTERM", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGBREAK", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH",
)  # fmt: skip
_ENDS = frozenset({"SIGINT", "SIGTERM", "SIGBREAK"})
SIGNALS = {getattr(signal, name): name[3:] for name in _NAMES if hasattr(signal, name)}
"""Those that are handled, by `handle_term()` and so on."""


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
        self._own_failures = 0
        self._own_log = logging.getLogger("uvicorn.error")

    def run(self) -> None:
        """Until then."""
        # Whoever runs it in another thread than the main one ends it by `should_exit` or `signal_queue`.
        known = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
        with handled(dict.fromkeys(known, lambda number, frame: self.signal_queue.append(number))):
            self._own_log.info("Started parent process [%d]", os.getpid())
            self.init_processes()
            while not self.should_exit.wait(_LOOK_SECONDS):
                self.handle_signals()
                self.keep_subprocess_alive()
            self.terminate_all()
            self.join_all()
            self._own_log.info("Stopping parent process [%d]", os.getpid())

    def _own_start(self) -> Process:
        return Process(self.config, self.target, self.sockets).start()

    def init_processes(self) -> None:
        """Start them, into `processes`."""
        self.processes += [self._own_start() for _ in range(self.processes_num)]

    def terminate_all(self) -> None:
        """Tell all of them to end."""
        for process in self.processes:
            process.terminate()

    def join_all(self) -> None:
        """Wait until they have."""
        for process in self.processes:
            process.join()

    def restart_all(self) -> None:
        """Replace one after the other; with one that is not ready in time all is left as it is.

        What a target does is not known: of such the one before has ended when the next is started.
        """
        for place, process in enumerate(self.processes):
            if self._own_is_ending():
                return
            replacement = None
            if self.target is None:
                replacement = self._own_start()
                if not self._own_is_up(replacement):
                    if not self._own_is_ending():
                        self._own_log.error(
                            "New child process [%s] was not ready in time, or has ended: process [%s] is kept.",
                            replacement.pid,
                            process.pid,
                        )
                    return
            process.terminate()
            process.join()
            self.processes[place] = replacement or self._own_start()

    def _own_is_up(self, replacement: Process) -> bool:
        """Whether it comes to serve; where it does not, it is ended."""
        timeout = getattr(self.config, "timeout_worker_healthcheck", None) or _READY_SECONDS
        end = time.monotonic() + timeout
        while not replacement.wait_until_ready(_LOOK_SECONDS, self.should_exit):
            if not replacement.is_alive() or time.monotonic() >= end or self._own_is_ending():
                replacement.kill()
                replacement.join()
                return False
        return True

    def _own_is_ending(self) -> bool:
        """Whether all is to end, or will be told so by a signal that waits for its turn."""
        return self.should_exit.is_set() or any(signal.Signals(number).name in _ENDS for number in self.signal_queue)

    def handle_signals(self) -> None:
        """Do what the signals ask for that have come, by the method that is named for each."""
        while self.signal_queue:
            sig = signal.Signals(self.signal_queue.popleft())
            handle = getattr(self, f"handle_{sig.name[3:].lower()}", None)
            if handle is not None:
                handle()

    def handle_int(self) -> None:
        """The end."""
        self._own_log.info("Received SIGINT, exiting.")
        self.should_exit.set()

    def handle_term(self) -> None:
        """The end, too."""
        self._own_log.info("Received SIGTERM, exiting.")
        self.should_exit.set()

    def handle_break(self) -> None:
        """And this, which is Ctrl+Break."""
        self._own_log.info("Received SIGBREAK, exiting.")
        self.should_exit.set()

    def handle_hup(self) -> None:
        """All are replaced."""
        self._own_log.info("Received SIGHUP, restarting processes.")
        self.restart_all()

    def handle_ttin(self) -> None:
        """One more."""
        self.processes_num += 1
        self.processes.append(self._own_start())

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
            failed = process.exitcode > 0 and process.own_seconds < _SOON_SECONDS
            self._own_failures = self._own_failures + 1 if failed else 0
            if process.exitcode == STARTUP_FAILURE or self._own_failures >= _FAILURES:
                self._own_log.error("Child process [%d] failed to start, stopping the parent process.", process.pid)
                self.should_exit.set()
                return
            self._own_log.info("Child process [%d] died", process.pid)
            self.processes[place] = self._own_start()


# A program that puts a step of its own into it changes what `run()` and the command serve by.
remember(PROCESSES, Multiprocess)
