"""A real ``gunicorn`` for a test: started in a directory of its own, watched through its log, always cleaned up.

Nothing here sleeps for a fixed time to let something happen: every wait polls for an event and has a bound, and the
bounds are generous, since they only decide when a test is given up.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import httpx
from gunicorn.config import KNOWN_SETTINGS

from tests.e2e.raw import Connection
from uvicorn_worker.board.board import BOOTING, find_boards

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["APPS", "H11", "HTTPTOOLS", "PATIENCE", "Event", "Gunicorn", "alive", "control_socket_option", "until"]

T = TypeVar("T")

#: The folder of the apps and of the configuration files that the tests serve; on the child's ``PYTHONPATH``.
APPS = Path(__file__).parent / "apps"

HTTPTOOLS = "uvicorn_worker.UvicornWorker"
H11 = "uvicorn_worker.UvicornH11Worker"

#: Seconds after which a wait is given up. Far above what a loaded machine needs.
PATIENCE = 40.0

# Whoever starts the tests may have had INT, QUIT or HUP ignored (nohup, a background job of a shell), and children
# inherit that. Gunicorn must start from the defaults, so a small program sets them and then becomes Gunicorn.
_LAUNCH = """
import os, signal, sys
for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

# Variables that Gunicorn reads by itself and that the machine running the tests may have set.
_NOT_INHERITED = ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "SENDFILE")


def until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """Call ``condition`` until it returns something true, and return that; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)


@cache
def control_socket_option(python: str = sys.executable) -> tuple[str, ...]:
    """``--no-control-socket`` where Gunicorn has a control socket, which would be shared by all tests."""
    option = "--no-control-socket"
    if python == sys.executable:
        known = any(option in (setting.cli or ()) for setting in KNOWN_SETTINGS)
    else:
        known = (
            option
            in subprocess.run([python, "-m", "gunicorn", "--help"], capture_output=True, text=True, check=True).stdout
        )
    return (option,) if known else ()


@dataclass(frozen=True)
class Event:
    """One line that an app or a hook wrote through ``apps/eventlog.py``; ``time`` is ``time.monotonic()``."""

    time: float
    pid: int
    name: str
    detail: str


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except OSError:
        return None
    state, parent = text[text.rindex(")") + 2 :].split()[:2]
    return state, int(parent)


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _serves(pid: int) -> bool:
    """Whether a worker has come as far as serving, by its master's board, or has ended since."""
    slots = [slot for board in find_boards(pid) for slot in board if slot.pid == pid]
    return any(slot.state != BOOTING for slot in slots) or not alive(pid)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Gunicorn:
    """``python -m gunicorn`` with ``options`` in a fresh directory; use it as a context manager.

    ``files`` maps names to texts, written there before the start (a ``gunicorn.conf.py`` among them is found by
    Gunicorn itself). ``daemon`` starts it detached, with a pidfile ``gunicorn.pid`` and its log in ``error.log``.
    ``script`` starts the script ``gunicorn`` instead of the module. ``argv`` replaces the whole command line.
    ``module`` is started in the place of ``gunicorn``, ``python`` in the place of the tests' own.
    """

    live: list[Gunicorn] = []  # noqa: RUF012 - shared on purpose: what is running when a test fails

    def __init__(
        self,
        app: str = "",
        *options: str,
        worker: str | None = None,
        workers: int = 1,
        bind: str | None = "127.0.0.1:0",
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        copy: Path | None = None,
        daemon: bool = False,
        script: bool = False,
        argv: list[str] | None = None,
        module: str = "gunicorn",
        python: str = sys.executable,
    ) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="e2e-"))  # short: a unix socket's path has 107 bytes
        if copy is not None:
            shutil.copytree(copy, self.dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in (files or {}).items():
            (self.dir / name).write_text(text)
        self.token = uuid.uuid4().hex
        self.env = self._environment(env or {})
        self.daemon = daemon
        self.python = python
        # The script where Gunicorn executes itself anew: started as a module, its folder would be where imports begin.
        command = [str(Path(python).with_name("gunicorn"))] if script else ["-m", module]
        if argv is not None:
            command += argv
        else:
            if worker is not None:
                command += ["-k", worker]
            if bind is not None:
                command += ["-b", bind]
            if workers != 1:
                command += ["-w", str(workers)]
            if daemon:
                command += ["--daemon", "--pid", "gunicorn.pid", "--error-logfile", "error.log"]
            command += [*control_socket_option(python), *options]
            if app:
                command.append(app)
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._daemon_pid = 0
        self._port = 0

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        paths = [str(APPS), *(os.path.abspath(p) for p in env.get("PYTHONPATH", "").split(os.pathsep) if p)]
        # No bytecode: a file that is changed twice in a second would be taken for what it was.
        env |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**env, "E2E_DIR": str(self.dir), "E2E_RUN": self.token, **extra}

    # ------------------------------------------------------------------ start and end

    def __enter__(self) -> Gunicorn:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the master; return when it listens, or when it has ended before that."""
        with (self.dir / "stdout").open("wb") as out, (self.dir / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [self.python, "-I", "-S", "-c", _LAUNCH, *self.command],
                cwd=self.dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        Gunicorn.live.append(self)
        try:
            until(lambda: "Listening at: " in self.log or self._ended_early(), "gunicorn to listen")
            if self.daemon:
                self._daemon_pid = int(until(lambda: self.read("gunicorn.pid"), "the pidfile"))
        except BaseException:
            self.stop()
            raise

    def _ended_early(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        return code is not None and (code != 0 or not self.daemon)

    def stop(self) -> None:
        """End what was started: ask the master, then kill whatever is left of it."""
        if self.process is None:
            return
        try:
            if alive(self.pid) and self.pid in self.leftovers():
                os.kill(self.pid, signal.SIGCONT)
                os.kill(self.pid, signal.SIGTERM)
                deadline = time.monotonic() + 8
                while alive(self.pid) and self.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.01)
            deadline = time.monotonic() + 8
            while (left := self.leftovers()) and time.monotonic() < deadline:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
        finally:
            self.process.kill()
            self.process.wait()
            self.process = None
            Gunicorn.live.remove(self)
            shutil.rmtree(self.dir, ignore_errors=True)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        """Wait for the master's end and return its exit code (0 for a daemon, whose code nobody can know)."""
        if self.daemon:
            until(lambda: not alive(self.pid), "the end of the daemon", timeout)
            return 0
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"gunicorn did not exit within {timeout:g} s") from None

    def stop_gracefully(self) -> int:
        """TERM to the master; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_exit()

    # ------------------------------------------------------------------ processes

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self.process is not None
        return self._daemon_pid or self.process.pid

    def workers(self) -> list[int]:
        """Process ids of the master's children that run."""
        stats = {pid: _stat(pid) for pid in _pids()}
        return sorted(pid for pid, stat in stats.items() if stat and stat[1] == self.pid and stat[0] not in "ZX")

    def leftovers(self) -> list[int]:
        """Process ids of everything that runs and descends from this start, whoever its parent is by now."""
        marker = f"E2E_RUN={self.token}".encode()
        found = []
        for pid in _pids():
            try:
                if marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and alive(pid):
                    found.append(pid)
            except OSError:
                continue
        return found

    def signal(self, signum: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to the master, or to the given worker."""
        os.kill(self.pid if pid is None else pid, signum)

    # ------------------------------------------------------------------ what it wrote

    def read(self, name: str) -> str:
        """The text of a file in the server's directory; empty when there is none yet."""
        try:
            return (self.dir / name).read_text(errors="replace")
        except OSError:
            return ""

    @property
    def log(self) -> str:
        """The error log: stderr, and the file ``error.log`` where the options name it."""
        return self.read("stderr") + self.read("error.log")

    @property
    def out(self) -> str:
        """What was written to stdout, where ``accesslog = "-"`` goes."""
        return self.read("stdout")

    def wait_log(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until the error log has a match of ``pattern``."""
        return until(lambda: re.search(pattern, self.log), f"{pattern!r} in the log", timeout)

    def events(self, name: str | None = None) -> list[Event]:
        """What apps and hooks reported so far, in order."""
        found = []
        told = self.read("events")
        # Whoever reads may see a part of a write.
        for line in told[: told.rfind("\n") + 1].splitlines():
            stamp, pid, kind, detail = line.split(" ", 3)
            if name is None or kind == name:
                found.append(Event(float(stamp), int(pid), kind, detail))
        return found

    def wait_events(self, name: str, count: int = 1, timeout: float = PATIENCE) -> list[Event]:
        """Wait until ``name`` was reported at least ``count`` times."""

        def enough() -> list[Event] | None:
            found = self.events(name)
            return found if len(found) >= count else None

        return until(enough, f"{count} times the event {name!r}", timeout)

    def wait_started(self, count: int = 1, timeout: float = PATIENCE) -> list[Event]:
        """Wait until `count` workers have started, and serve; their events "startup", also of those that are gone.

        The event alone comes before that: an application writes it while its worker does not accept yet.
        """
        found = self.wait_events("startup", count, timeout)
        until(lambda: all(_serves(event.pid) for event in found), f"{count} workers to serve", timeout)
        return found

    # ------------------------------------------------------------------ clients

    @property
    def port(self) -> int:
        if not self._port:  # once, since log files get renamed
            found = re.search(r"Listening at: https?://[^ ]*:(\d+)", self.log)
            assert found, "gunicorn ended before it listened"
            self._port = int(found.group(1))
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout: float = PATIENCE) -> Connection:
        """A raw connection to the TCP port."""
        return Connection(("127.0.0.1", self.port), timeout)

    def client(self) -> httpx.Client:
        """An httpx client with ``base_url`` set, proxies of the environment ignored."""
        # verify=False: reading the machine's certificates would take longer than a request, and there is no TLS here
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, verify=False)  # noqa: S501

    def get(self, path: str = "/") -> httpx.Response:
        """One GET on a connection of its own."""
        with self.client() as client:
            return client.get(path, headers={"connection": "close"})
