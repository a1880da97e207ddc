"""The curves of docs/tuning.md, measured on this machine: `python -m benchmarks.curves` (make bench-curves).

Our worker alone, under the Gunicorn of this environment, with clients in a process of their own. Writes a chart for
each curve to docs/img/, and prints the figures. They are of time that is waited and not computed, or of CPU time, so
that what else the machine does matters little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .plot import lines

IMAGES = Path(__file__).parents[1] / "docs" / "img"
APP = Path(__file__).parent / "apps" / "curves_app.py"


@dataclass
class Running:
    """A server that runs: its socket, and the processes that it consists of."""

    path: Path
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU of the workers so far."""
        total = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def server(
    app: str, *options: str, python: str = sys.executable, worker: str = "UvicornWorker", **env: str
) -> Iterator[Running]:
    """Our *worker* under the Gunicorn of *python*, with *app* of apps/curves_app.py and environment variables."""
    folder = Path(tempfile.mkdtemp(prefix="curve-"))
    path = folder / "s"
    command = [python, "-m", "gunicorn", f"{APP.stem}:{app}", "-k", f"uvicorn_worker.{worker}", "-b", f"unix:{path}"]
    command += ["--pythonpath", str(APP.parent), "--keep-alive", "60", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **env}, stdout=log, stderr=log)
    try:
        while b"Ready in" not in (folder / "log").read_bytes():
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.05)
        yield Running(path, process.pid)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGQUIT)
        process.wait()


@dataclass
class Load:
    """What clients have seen: answers of 200 with their times in seconds, and refusals."""

    seconds: float
    times: list[float]
    refused: int

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    def percentile(self, share: float) -> float:
        return sorted(self.times)[int(len(self.times) * share)] if self.times else 0.0


async def _client(path: Path, target: str, until: float, per_connection: int, load: Load) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode()
    left, reader, writer = 0, None, None
    while (begin := time.perf_counter()) < until:
        if left == 0 or reader is None or writer is None:
            reader, writer = await asyncio.open_unix_connection(str(path))
            left = per_connection
        left -= 1
        writer.write(head + (b"\r\n" if left else b"Connection: close\r\n\r\n"))
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        if answer.startswith(b"HTTP/1.1 200"):
            load.times.append(time.perf_counter() - begin)
        else:
            load.refused += 1
            # A client that is told to come back does not do so at once.
            await asyncio.sleep(0.05)
        if not left:
            writer.close()
    if writer is not None:
        writer.close()


def load(path: Path, target: str, clients: int, seconds: float, per_connection: int = 1 << 30) -> Load:
    """`clients` that ask one request after the other."""
    found = Load(seconds, [], 0)

    async def main() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(_client(path, target, until, per_connection, found) for _ in range(clients)))

    asyncio.run(main())
    return found


def workers(seconds: float) -> str:
    """Requests a second over the number of workers, for an application that blocks and one that awaits."""
    series = []
    for name, target in (("awaits", "/wait"), ("blocks", "/blocks")):
        points = []
        for number in (1, 2, 4, 8):
            with server("app", "-w", str(number)) as running:
                load(running.path, target, 16, 0.5, 4)
                rate = load(running.path, target, 16, seconds, 4).rate
            points.append((number, rate))
            print(f"workers {number}: {name}: {rate:,.0f}/s", flush=True)
        series.append((name, points))
    return lines("Requests of 50 ms each, a second, 16 clients", "workers", "requests/s", series)


def keepalive(seconds: float) -> str:
    """CPU of the server for a request, over the number of requests on a connection."""
    points = []
    with server("app") as running:
        for number in (1, 2, 4, 8, 16, 64):
            load(running.path, "/", 8, 0.3, number)
            before = running.cpu()
            found = load(running.path, "/", 8, seconds * 2, number)
            points.append((number, (running.cpu() - before) / len(found.times) * 1e6))
            print(f"keepalive, {number} requests a connection: {points[-1][1]:.1f} us of CPU each", flush=True)
    return lines("CPU of the server for a request", "requests on a connection", "µs", [("GET", points)])


def limits(seconds: float) -> str:
    """The time of answers over the number of clients, with and without a bound on what runs at once."""
    series = []
    for name, env in (("no limit", {}), ("limit_concurrency 32", {"UVICORN_LIMIT_CONCURRENCY": "32"})):
        points = []
        with server("app", **env) as running:
            for clients in (8, 16, 32, 64, 128, 256):
                found = load(running.path, "/pool", clients, seconds * 2)
                points.append((clients, found.percentile(0.99) * 1000))
                p99 = points[-1][1]
                print(f"{name}, {clients} clients: p99 {p99:.0f} ms, {found.refused} refused", flush=True)
        series.append((name, points))
    return lines("The slowest one per cent of answers: a pool of four connections, 50 ms each", "clients", "ms", series)


def threads(seconds: float) -> str:
    """Requests a second over the threads of a WSGI application that waits, and of an async one that blocks."""
    points = []
    for number in (2, 4, 8, 16, 32):
        with server("wsgi", "--threads", str(number), UVICORN_INTERFACE="wsgi") as running:
            points.append((number, load(running.path, "/", 64, seconds).rate))
        print(f"threads {number}: {points[-1][1]:,.0f}/s", flush=True)
    with server("app") as running:
        blocked = load(running.path, "/blocks", 64, seconds).rate
        waited = load(running.path, "/wait", 64, seconds).rate
    print(f"async def that blocks: {blocked:,.0f}/s; that awaits: {waited:,.0f}/s", flush=True)
    both = [("WSGI pool", points)]
    both += [("await", [(2, waited), (32, waited)]), ("blocks the loop", [(2, blocked), (32, blocked)])]
    return lines("Requests a second that wait for 50 ms each, one worker, 64 clients", "threads", "requests/s", both)


CURVES = {"workers": workers, "keepalive": keepalive, "limits": limits, "threads": threads}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (default: 3)")
    parser.add_argument("--only", choices=CURVES, help="one of the curves")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    for name, curve in CURVES.items():
        if options.only in {None, name}:
            (IMAGES / f"tuning-{name}.svg").write_text(curve(options.seconds))


if __name__ == "__main__":
    main()
