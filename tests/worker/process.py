"""A worker as a process, forked as the master does it, under nobody but the test."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gunicorn import sock
from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.glogging import Logger

from tests.worker.cycles import settings
from uvicorn_worker.board.board import SERVING, Board, Slot
from uvicorn_worker.worker.worker import UvicornWorker

__all__ = ["APP_ERROR", "BOOT_ERROR", "PATIENCE", "Process", "Start", "app", "say", "slow_to_end", "waits"]

PATIENCE = 30.0
# Of the master: it boots no more workers.
BOOT_ERROR, APP_ERROR = GunicornArbiter.WORKER_BOOT_ERROR, GunicornArbiter.APP_LOAD_ERROR


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers, or does what the path says."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/wait":
        say("waits")
        await asyncio.sleep(60)
    if scope["path"] == "/block":
        say("blocks")
        time.sleep(60)  # noqa: ASYNC251 - that is what is tested
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def slow_to_end(scope: Any, receive: Any, send: Any) -> None:
    """Its shutdown ends when there is a file `go`."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("shuts down")
    while not os.path.exists("go"):  # noqa: ASYNC240 - it is there or not
        await asyncio.sleep(0.01)
    await send({"type": "lifespan.shutdown.complete"})


def waits() -> Any:
    """Load the application when there is a file `loaded`."""
    say("loads")
    while not os.path.exists("loaded"):
        time.sleep(0.01)
    return app


class Process:
    """One worker, forked as the master does it."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[], Any],
        kind: type[UvicornWorker],
        before: Process | None = None,
        **given: Any,
    ) -> None:
        """`before` is another worker of the same master."""
        self.output = folder / "log"
        self.output.touch()
        if before is None:
            self.cfg = settings(
                **{"bind": ["127.0.0.1:0"], "errorlog": str(self.output), "loglevel": "debug", "timeout": 60, **given}
            )
            kind.setup()
            kind.check_config(self.cfg, None)
            self.logger = Logger(self.cfg)
            self.sockets = sock.create_sockets(self.cfg, self.logger)
            self.age = 1
        else:
            self.cfg, self.logger, self.sockets, self.age = before.cfg, before.logger, before.sockets, before.age + 1
        self.port = self.sockets[0].sock.getsockname()[1]
        self.worker: Any = kind(
            self.age, os.getpid(), self.sockets, SimpleNamespace(wsgi=load), self.cfg.timeout, self.cfg, self.logger
        )
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run()
        self.worker.pid = self.pid

    def _run(self) -> None:
        code: Any = 70
        # Where coverage is measured it is written before the end, which takes both threads down that do so at a time.
        leaves, leave = threading.Lock(), os._exit

        def leave_once(code: int) -> None:
            leaves.acquire()
            leave(code)

        os._exit = leave_once  # type: ignore[assignment]
        try:
            fd = os.open(self.output, os.O_WRONLY | os.O_APPEND)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            self.worker.pid = os.getpid()
            self.worker.init_process()
            code = 0
        except SystemExit as exc:
            code = exc.code or 0
        except BaseException as exc:  # noqa: BLE001 - the test sees it in the log
            say(repr(exc))
        finally:
            sys.stdout.flush()
            os._exit(code)

    @property
    def log(self) -> str:
        return self.output.read_text()

    @property
    def slot(self) -> Slot:
        return next(slot for slot in Board.of_master() if slot.pid == self.pid)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.running, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def wait_log(self, pattern: str) -> None:
        self.wait(lambda: re.search(pattern, self.log))

    def serves(self) -> Process:
        self.wait(lambda: self.slot.state == SERVING and (self.age > 1 or "Ready in" in self.log))
        return self

    @property
    def running(self) -> bool:
        if self.status is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            # Not read again: the process is gone.
            raise AssertionError(f"it has ended with {ended[1]}\n{self.log}")
        return True

    @contextlib.contextmanager
    def asks(self, path: str = "/") -> Iterator[http.client.HTTPConnection]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(client):
            client.request("GET", path)
            yield client

    def get(self) -> tuple[int, bytes]:
        with self.asks() as client:
            answer = client.getresponse()
            return answer.status, answer.read()

    def tell(self, *signals: int) -> None:
        for sig in signals:
            os.kill(self.pid, sig)

    def code(self) -> int:
        """With which code it has ended, of itself."""
        deadline = time.monotonic() + PATIENCE
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(self.status)

    def close(self) -> None:
        if self.status is None:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        self.worker.tmp.close()
        for each in self.sockets:
            each.close()


Start = Callable[..., Process]
