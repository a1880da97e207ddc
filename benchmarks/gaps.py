"""What clients see while workers are replaced, and the application takes seconds to start.

    python -m benchmarks.gaps [--servers NAME,...] [--events NAME,...] [--runs 3] [--side-by-side 3]

A load that a server hardly feels: 50 requests a second, spread over 200 connections that are kept. For each event, the
longest time that a request has taken, and how many got no answer; a connection that the server has closed before
the request was sent is opened again, as every client does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .environments import clean_variables, ensure
from .servers import OURS, SERVERS

RATE = 50.0
CONNECTIONS = 200
START_SECONDS = 5.0
# After it a request counts as lost.
PATIENCE = 20.0

APP = """
import time
time.sleep({seconds})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}})
    await send({{"type": "http.response.body", "body": b"ok"}})
"""
GOOD = APP.format(seconds=START_SECONDS)
BROKEN = "raise RuntimeError('broken')\n"


# Servers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a server is started here; its environment is that of the benchmark's server of that name."""

    title: str
    environment: str
    command: tuple[str, ...]
    is_gunicorn: bool = True


def _gunicorn(*start: str) -> tuple[str, ...]:
    options = ("--keep-alive", "75", "--graceful-timeout", "20", "--timeout", "60")
    return (*start, "-w", "{workers}", "-b", "127.0.0.1:{port}", "--pid", "pid", *options)


KINDS = {
    "ours": Kind(
        "this project, plain `gunicorn`", OURS, _gunicorn("{bin}/gunicorn", "-k", "uvicorn_worker.UvicornWorker")
    ),
    "ours-master": Kind(
        "this project, its own master", OURS, _gunicorn("{bin}/python", "-m", "uvicorn_worker.master")
    ),
    "uvicorn-worker": Kind(
        "uvicorn-worker 0.4.0, uvicorn 0.54.0",
        "uvicorn-worker",
        _gunicorn("{bin}/gunicorn", "-k", "uvicorn_worker.UvicornWorker"),
    ),
    "gunicorn-asgi": Kind("Gunicorn 27.0.1, `-k asgi`", "gunicorn-asgi", _gunicorn("{bin}/gunicorn", "-k", "asgi")),
    "granian": Kind(
        "Granian 2.8.7",
        "granian",
        (
            *("{bin}/granian", "--interface", "asgi", "--workers", "{workers}", "--loop", "uvloop"),
            *("--host", "127.0.0.1", "--port", "{port}", "--pid-file", "pid"),
        ),
        is_gunicorn=False,
    ),
}  # fmt: skip


@functools.cache
def has_control_socket(binaries: Path) -> bool:
    done = subprocess.run([binaries / "gunicorn", "--help"], capture_output=True, text=True, check=True)
    return "--no-control-socket" in done.stdout


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Running:
    """A server in a directory of its own."""

    def __init__(self, kind: Kind, binaries: Path, workers: int, options: Sequence[str]) -> None:
        self.kind = kind
        self.port = free_port()
        self.dir = Path(tempfile.mkdtemp(prefix="gaps-"))
        self.serve(GOOD)
        words = {"bin": str(binaries), "port": self.port, "workers": workers}
        # A control socket would be shared by all of them; Gunicorn 23 has none.
        options = (*options, *(("--no-control-socket",) if kind.is_gunicorn and has_control_socket(binaries) else ()))
        self._command = [*(word.format(**words) for word in kind.command), *options, "gap_app:app"]
        self.pid = 0

    def serve(self, text: str) -> None:
        """What the application is from now on, for those who import it."""
        (self.dir / "gap_app.py").write_text(text)

    async def __aenter__(self) -> Running:
        with (self.dir / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.dir,
                env={**clean_variables(), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        client = Client(self.port)
        deadline = time.monotonic() + 60
        while await client.ask() is not None:
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.kind.title} does not start:\n{self.log[-3000:]}")
            await asyncio.sleep(0.1)
        client.close()
        return self

    async def __aexit__(self, *error: object) -> None:
        for sig in signal.SIGTERM, signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)
                if sig == signal.SIGTERM:
                    await self.until(lambda: not self.is_there, 25)
            with contextlib.suppress(ProcessLookupError):
                # All that it has started is in its group.
                if sig == signal.SIGKILL:
                    os.killpg(self._process.pid, sig)
        await self._process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self.dir / "log").read_text(errors="replace")

    @property
    def is_there(self) -> bool:
        """Whether the master lives."""
        if self.pid == self._process.pid:
            return self._process.returncode is None
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        return False

    def signal(self, sig: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, sig)

    async def until(self, condition: Callable[[], object], seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            if condition():
                return
            await asyncio.sleep(0.05)


# Clients ---------------------------------------------------------------------------------------------


class Client:
    """One connection, which is opened when there is none."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()

    async def ask(self) -> str | None:
        """One request; what is wrong, or None."""
        async with self._lock:
            kept = self._streams is not None
            try:
                await asyncio.wait_for(self._ask(), PATIENCE)
            except Exception as exc:  # noqa: BLE001 - whatever went wrong, it is lost
                self.close()
                return f"{type(exc).__name__} on a {'kept' if kept else 'new'} connection: {exc}"
            return None

    async def _ask(self) -> None:
        if self._streams is not None and self._has_ended(self._streams[1]):
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(b"GET / HTTP/1.1\r\nHost: gaps\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise OSError(head[:40].decode("latin-1"))
        if b"transfer-encoding: chunked" in head:
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(2)
        if b"connection: close" in head:
            self.close()

    @staticmethod
    def _has_ended(writer: asyncio.StreamWriter) -> bool:
        """Whether the server has closed it; asked of the kernel, as pools of connections do before each request."""
        try:
            with socket.fromfd(writer.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM) as sock:
                sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        # Bytes that nobody has asked for are no better than none.
        return True

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Seen:
    """What the clients of one run have seen."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    longest: float = 0.0
    when: float = 0.0
    """When the longest wait began, from the event on, in seconds."""
    late: float = 0.0
    """How late the clients themselves were at the most: what the machine, and not the server, is to blame for."""
    gone: bool = False

    def __str__(self) -> str:
        text = f"{self.longest * 1000:.0f} ms, {len(self.lost)}"
        return f"{text}, master gone" if self.gone else text


class Load:
    """Asks at an even pace, whatever becomes of the answers."""

    def __init__(self, port: int) -> None:
        self.seen = Seen()
        self.begun = time.monotonic()
        self._clients = [Client(port) for _ in range(CONNECTIONS)]
        self._asked: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Load:
        self._task = asyncio.ensure_future(self._run())
        await asyncio.sleep(CONNECTIONS / RATE)
        self.begun = time.monotonic()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        if self._asked:
            await asyncio.wait(self._asked)
        for client in self._clients:
            client.close()

    async def _run(self) -> None:
        begun = time.monotonic()
        number = 0
        while True:
            due = begun + number / RATE
            await asyncio.sleep(due - time.monotonic())
            self.seen.late = max(self.seen.late, time.monotonic() - due)
            task = asyncio.ensure_future(self._one(self._clients[number % CONNECTIONS]))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
            number += 1

    async def _one(self, client: Client) -> None:
        begun = time.monotonic()
        wrong = await client.ask()
        if wrong is None:
            self.seen.answered += 1
            took = time.monotonic() - begun
            if took > self.seen.longest:
                self.seen.longest, self.seen.when = took, begun - self.begun
        else:
            self.seen.lost.append(wrong)


# Events ----------------------------------------------------------------------------------------------


async def hup(server: Running) -> None:
    server.signal(signal.SIGHUP)
    await asyncio.sleep(START_SECONDS + 5)


async def broken(server: Running) -> None:
    server.serve(BROKEN)
    server.signal(signal.SIGHUP)
    await asyncio.sleep(4)
    server.serve(GOOD)
    server.signal(signal.SIGHUP)
    await asyncio.sleep(START_SECONDS + 5)


async def recycle(server: Running) -> None:
    await asyncio.sleep(25)


async def scale(server: Running) -> None:
    server.signal(signal.SIGTTIN)
    await asyncio.sleep(START_SECONDS + 2)
    server.signal(signal.SIGTTOU)
    await asyncio.sleep(4)


async def upgrade(server: Running) -> None:
    server.signal(signal.SIGUSR2)
    pidfile = server.dir / "pid.2"
    await server.until(pidfile.exists, 20)
    await asyncio.sleep(START_SECONDS + 3)
    new = int(pidfile.read_text())
    server.signal(signal.SIGTERM)
    await server.until(lambda: not server.is_there, 25)
    server.pid = new
    await asyncio.sleep(2)


@dataclass(frozen=True)
class Event:
    title: str
    happens: Callable[[Running], Awaitable[None]]
    workers: int = 2
    options: tuple[str, ...] = ()
    for_granian: bool = False


EVENTS = {
    "hup": Event("`HUP`", hup, for_granian=True),
    "broken": Event("`HUP` to a broken application, and back", broken, for_granian=True),
    "max1": Event("`max_requests`, one worker", recycle, 1, ("--max-requests", "450")),
    "max2": Event(
        "`max_requests`, two workers", recycle, 2, ("--max-requests", "200", "--max-requests-jitter", "100")
    ),
    "scale": Event("`TTIN`, `TTOU`", scale),
    "upgrade": Event("`USR2`, `TERM` to the old master", upgrade),
}  # fmt: skip


async def run_once(kind: Kind, binaries: Path, event: Event) -> Seen:
    """One event on one server."""
    async with Running(kind, binaries, event.workers, event.options) as server:
        async with Load(server.port) as load:
            await event.happens(server)
        load.seen.gone = not server.is_there
        if "--log" in sys.argv:
            sys.stdout.write(server.log)
    return load.seen


async def run(args: argparse.Namespace) -> None:
    """All of them; prints each, and a table at the end."""
    events = args.events.split(",")
    at_once = asyncio.Semaphore(args.side_by_side)
    rows = []
    for name in args.servers.split(","):
        kind = KINDS[name]
        if args.bin is not None:
            binaries = args.bin.absolute()
        else:
            servers = {server.name: server for server in SERVERS}
            binaries = ensure(servers[kind.environment], args.python).bin

        async def one(kind: Kind, binaries: Path, event: str, number: int) -> Seen:
            async with at_once:
                seen = await run_once(kind, binaries, EVENTS[event])
            reasons = f" ({seen.lost[0]})" if seen.lost else ""
            say(
                f"{kind.title}, {event}, run {number + 1}: {seen} of {seen.answered + len(seen.lost)}{reasons}; the "
                f"longest began after {seen.when:.1f} s; the clients were {seen.late * 1000:.0f} ms late at the most"
            )
            return seen

        usable = [event for event in events if kind.is_gunicorn or EVENTS[event].for_granian]
        results = iter(
            await asyncio.gather(
                *(one(kind, binaries, event, number) for event in usable for number in range(args.runs))
            )
        )
        cells = {event: "; ".join(str(next(results)) for _ in range(args.runs)) for event in usable}
        rows.append((kind.title, *(cells.get(event, "can't") for event in events)))
    say("")
    say(f"| | {' | '.join(EVENTS[event].title for event in events)} |")
    say(f"|---|{'---:|' * len(events)}")
    for row in rows:
        say(f"| {' | '.join(row)} |")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(KINDS))
    parser.add_argument("--events", default=",".join(EVENTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side-by-side", type=int, default=3, help="how many servers run at the same time")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--bin", type=Path, help="programs of this environment, whatever the server")
    parser.add_argument("--log", action="store_true", help="show the log of each server")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
