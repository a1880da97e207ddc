"""Servers as processes: started pinned to a core, awaited, stopped."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType

from .environments import APPS, BENCH, REPOSITORY, Environment, clean_variables
from .scenarios import TLS
from .servers import Server

# The slowest start is a framework's import on a busy machine.
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class StartError(Exception):
    """A server did not come up."""


class RunningServer:
    """A server process in a process group of its own, serving *app* on a free port of 127.0.0.1."""

    def __init__(
        self, server: Server, environment: Environment, app: str, core: int | None, stdout: int | None = None
    ) -> None:
        """`stdout`: a descriptor, in the place of a file in .bench/logs."""
        self.server = server
        self.port = _free_port()
        cert, key = _certificate() if app == TLS else ("", "")
        words = {"bin": str(environment.bin), "app": app, "port": self.port, "cert": cert, "key": key}
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        path = BENCH / "logs" / f"{server.name}-{app.partition(':')[0]}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log_name = path.relative_to(REPOSITORY)
        with path.open("wb") as log:
            # In the applications' directory, so that no server imports this checkout by chance.
            self._process = subprocess.Popen(
                [*pinned, *(word.format(**words) for word in server.command_for(app))],
                cwd=APPS,
                env=clean_variables(),
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_ready(self) -> None:
        """Return when the server accepts connections; raise StartError when it ends or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(f"exit code {self._process.returncode}, see {self._log_name}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise StartError(f"not listening after {_START_SECONDS:.0f} s, see {self._log_name}")

    def halt(self) -> None:
        """Let one that spins do nothing until `go_on`; others, which have heartbeats, take no CPU to speak of."""
        if self.server.spins:
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It is its turn."""
        if self.server.spins:
            self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Its turn, of one that is halted while others have theirs."""
        self.go_on()
        try:
            yield
        finally:
            self.halt()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """End the whole process group, gracefully where it follows."""
        self.go_on()
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        # Workers that outlived their parent are still in the group that was made for this server.
        self._signal(signal.SIGKILL)
        self._process.wait()


@cache
def _certificate() -> tuple[str, str]:
    """The files of a certificate on P-256, and of its key; they go when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    atexit.register(shutil.rmtree, folder)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
         "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
