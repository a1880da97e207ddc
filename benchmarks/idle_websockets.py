"""Memory of idle WebSockets, server after server: `python -m benchmarks.idle_websockets --help`.

Thousands of connections are opened, and later each of them has one message echoed. What the server's processes have
grown by (resident memory, RSS), divided by the number of connections, is what an idle one costs. The kernel's buffers
are not in it; they are the same for all servers.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from .descriptors import raise_limit
from .environments import Environment
from .idle_http import SOURCES
from .measure import process_tree
from .options import add_servers, count, say, set_up
from .processes import RunningServer, StartError
from .scenarios import WEBSOCKET
from .servers import OURS, SERVERS, Server
from .websocket_wire import Handshake, Message, Reader, check_echo, close_websockets, receive_messages
from .wire import WrongAnswer

# So many handshakes or messages are under way at once: fewer than any server's backlog.
_BATCH = 100
# Descriptors that a server and this program need for other things.
_SPARE_DESCRIPTORS = 200
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Figures:
    """Resident bytes of a server's processes."""

    before: int
    opened: int
    used: int
    connections: int

    @property
    def opened_per_connection(self) -> float:
        return (self.opened - self.before) / self.connections

    @property
    def used_per_connection(self) -> float:
        return (self.used - self.before) / self.connections


def main() -> int:
    options = _parse()
    # The default action of SIGTERM would leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = options.connections + _SPARE_DESCRIPTORS
    if (limit := raise_limit(wanted)) < wanted:
        say(f"{wanted} open files are needed, and the limit is {limit}: raise it, or give fewer --connections")
        return 2
    environments, failures = set_up(options.servers, options.python)
    figures: dict[str, Figures] = {}
    for server in options.servers:
        if server.name in environments:
            try:
                figures[server.name] = _measure(
                    server, environments[server.name], options.connections, deflate=options.deflate
                )
            except (OSError, StartError, WrongAnswer) as error:
                failures.append(f"{server.name}: {error!r}")
    print(_table(figures, options.servers, options.connections, deflate=options.deflate))
    for line in failures:
        say(f"failed: {line}")
    return 1 if failures else 0


def _measure(server: Server, environment: Environment, connections: int, *, deflate: bool) -> Figures:
    message = Message(64, deflate=deflate)
    with RunningServer(server, environment, WEBSOCKET, core=None) as running, contextlib.ExitStack() as stack:
        running.wait_ready()
        # What is imported or made at the first use belongs to no connection.
        check_echo(running.port, message, 1)
        before = _resident(running.pid)
        sockets: list[socket] = []
        stack.callback(close_websockets, sockets)
        for first in range(0, connections, _BATCH):
            numbers = range(first, min(first + _BATCH, connections))
            handshakes = [
                Handshake(running.port, deflate=deflate, source=SOURCES[number % len(SOURCES)]) for number in numbers
            ]
            sockets += [handshake.finish() for handshake in handshakes]
        opened = _resident(running.pid)
        say(f"{server.name}: {connections} connections are open")
        _echo_on_all(sockets, message)
        used = _resident(running.pid)
        # All of them are still there.
        _echo_on_all(sockets, message)
        say(f"{server.name}: each has echoed a message")
        return Figures(before, opened, used, connections)


def _echo_on_all(sockets: list[socket], message: Message) -> None:
    for first in range(0, len(sockets), _BATCH):
        batch = sockets[first : first + _BATCH]
        for sock in batch:
            sock.sendall(message.frame())
        for sock in batch:
            receive_messages(sock, Reader(), 1)


def _resident(root: int) -> int:
    """Resident bytes of *root* and its descendants, once they have come to rest."""
    time.sleep(_SETTLE_SECONDS)
    total = 0
    for pid in process_tree(root):
        # Unlike the figures in status and statm, those in smaps_rollup are exact.
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total


def _table(figures: dict[str, Figures], servers: list[Server], connections: int, *, deflate: bool) -> str:
    compression = "with" if deflate else "without"
    ours = figures.get(OURS)
    lines = [
        f"### idle-ws: {connections:,} idle WebSockets {compression} permessage-deflate, bytes of RSS per connection",
        "",
        "| Server | opened | after one echo | vs ours | processes before, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for server in servers:
        if server.name in figures:
            mine = figures[server.name]
            ratio = f"{mine.used_per_connection / ours.used_per_connection:.2f}x" if ours else "—"
            lines.append(
                f"| {server.title} | {mine.opened_per_connection:,.0f} | {mine.used_per_connection:,.0f} | {ratio}"
                f" | {mine.before / 2**20:.0f} |"
            )
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    default = [server for server in SERVERS if server.name in {OURS, "uvicorn-worker"}]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.idle_websockets",
        description="Measure how much memory an idle WebSocket takes in the server's processes.",
    )
    parser.add_argument("--connections", type=count, default=10_000, help="WebSockets to open (default: 10000)")
    parser.add_argument("--deflate", action="store_true", help="offer permessage-deflate, as browsers do")
    add_servers(parser, default)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
