"""How long a start takes, from exec to the first answer: `python -m benchmarks.start --help`.

Each server is started, asked every millisecond until it has answered once, looked at, and stopped; the rounds are
interleaved. CPU time is that of all its processes until then, as the scheduler accounted it. Memory is that of all of
them a second later (PSS: what processes share counts once). Bytecode is compiled by a start before the first round.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .environments import Environment
from .measure import process_cpu_ns, process_tree
from .options import add_servers, count, say, set_up
from .processes import RunningServer, StartError
from .servers import OURS, SERVERS, Server

_APP = "raw:app"
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_PAUSE_SECONDS = 0.001
_MOST_SECONDS = 30.0
# For workers that start behind the first one, before memory is looked at.
_SETTLE_SECONDS = 1.0

_PEERS = (OURS, "uvicorn-worker", "gunicorn-asgi", "granian", "h2corn", "hypercorn")


@dataclass(frozen=True)
class Start:
    """One start: seconds to the first answer, those of CPU by then, and MiB."""

    seconds: float
    cpu: float
    memory: float


def main() -> int:
    options = _parse()
    # The default action of SIGTERM would leave a server running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environments, failures = set_up(options.servers, options.python)
    starts: dict[str, list[Start]] = {}
    for number in range(options.rounds + 1):
        say(f"round {number} of {options.rounds}" if number else "bytecode is compiled")
        for server in options.servers:
            if server.name not in environments:
                continue
            try:
                start = _start(server.with_workers(options.workers), environments[server.name])
            except (OSError, StartError) as error:
                failures.append(f"{server.name}: {error!r}")
                del environments[server.name]
                continue
            if number:
                starts.setdefault(server.name, []).append(start)
    print(_table(starts, options.servers, options.rounds, options.workers))
    for line in failures:
        say(f"failed: {line}")
    return 1 if failures else 0


def _start(server: Server, environment: Environment) -> Start:
    began = time.perf_counter()
    with RunningServer(server, environment, _APP, core=None) as running:
        while not _answers(running.port):
            if time.perf_counter() - began > _MOST_SECONDS:
                raise StartError("no answer, see .bench/logs")
            time.sleep(_PAUSE_SECONDS)
        seconds = time.perf_counter() - began
        cpu = sum(process_cpu_ns(pid) for pid in process_tree(running.pid)) / 1e9
        time.sleep(_SETTLE_SECONDS)
        return Start(seconds, cpu, sum(_memory(pid) for pid in process_tree(running.pid)) / 1024)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
        sock.sendall(_REQUEST)
        return sock.recv(65536).startswith(b"HTTP/1.1 200")
    return False


def _memory(pid: int) -> int:
    """Its proportional set size, in KiB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _table(starts: dict[str, list[Start]], servers: list[Server], rounds: int, workers: int) -> str:
    number = "one worker" if workers == 1 else f"{workers} workers"
    lines = [
        f"### start: from exec to the first answer, {number}; least and median of {rounds} starts",
        "",
        "| Server | ms | CPU ms | PSS MiB |",
        "|---|---:|---:|---:|",
    ]
    for server in servers:
        if found := starts.get(server.name):
            seconds, cpu = [start.seconds for start in found], [start.cpu for start in found]
            memory = statistics.median(start.memory for start in found)
            lines.append(
                f"| {server.title} | {min(seconds) * 1e3:.0f} / {statistics.median(seconds) * 1e3:.0f}"
                f" | {min(cpu) * 1e3:.0f} / {statistics.median(cpu) * 1e3:.0f} | {memory:.1f} |"
            )
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    default = [server for server in SERVERS if server.name in _PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start",
        description="Measure how long servers take from exec to the first answer, and what they take for it.",
    )
    parser.add_argument("--rounds", type=count, default=20, help="starts of each server (default: 20)")
    parser.add_argument("--workers", type=count, default=1, help="worker processes (default: 1)")
    add_servers(parser, default)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
