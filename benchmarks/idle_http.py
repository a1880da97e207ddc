"""Holds idle keep-alive connections: `python -m benchmarks.idle_http PORT`, driven by lines on standard input.

`open N`: so many are open, each of which has had one answer; `count`: how many the server has kept; `close`: none.
Each line is answered by one with the number that is open.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from .load import LoadError

# So many connects or requests are under way at once: fewer than any server's backlog.
_BATCH = 100
# The client ports of one address are not enough for many connections, above all where the last run's are still waiting
# for stray packets.
SOURCES = tuple(f"127.0.0.{number}" for number in range(1, 17))
_REQUEST = b"GET / HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n"
# Linger for no time: thousands of connections that wait for stray packets would take the ports of the next round.
_RESET = struct.pack("ii", 1, 0)


class Holder:
    """The program, as seen by the one that measures."""

    def __init__(self, port: int, core: int) -> None:
        command = ["taskset", "-c", str(core), sys.executable, "-m", f"{__package__}.idle_http", str(port)]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: object) -> int:
        """What it says to a line; LoadError where it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(*words, file=self._process.stdin, flush=True)
        except OSError as error:
            raise LoadError("what holds idle connections has ended") from error
        said = self._process.stdout.readline()
        if not said.strip().isdecimal():
            raise LoadError(f"idle connections: {said.strip() or 'what holds them has ended'}")
        return int(said)

    def __enter__(self) -> Holder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def _connect(port: int, source: str) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(20)
    # A port is then chosen at the connect, so that each source and destination have all of them.
    sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def _open(held: list[socket.socket], port: int, wanted: int) -> None:
    # Those that are there are asked again, so that none is idle for as long as servers let it.
    for first in range(0, len(held), _BATCH):
        _ask(held[first : first + _BATCH], port)
    while len(held) < wanted:
        numbers = range(len(held), min(len(held) + _BATCH, wanted))
        batch = [_connect(port, SOURCES[number % len(SOURCES)]) for number in numbers]
        held += batch
        _ask(batch, port)


def _ask(batch: list[socket.socket], port: int) -> None:
    for sock in batch:
        sock.sendall(_REQUEST % port)
    for number, sock in enumerate(batch):
        answer = b""
        while not answer.endswith(b"Hello, World!"):
            answer += (more := sock.recv(65536))
            if not more:
                raise OSError(f"closed instead of an answer, after {number} of a batch: {answer!r}")


def _count(held: list[socket.socket]) -> int:
    """How many neither have ended nor have anything to read, which would be an end, too."""
    poll = select.poll()
    for sock in held:
        poll.register(sock, select.POLLIN | select.POLLRDHUP)
    return len(held) - len(poll.poll(0))


def main() -> None:
    port = int(sys.argv[1])
    held: list[socket.socket] = []
    for line in sys.stdin:
        word, *numbers = line.split()
        try:
            if word == "close":
                for sock in held:
                    sock.close()
                held = []
            elif word == "open":
                _open(held, port, int(numbers[0]))
            print(_count(held), flush=True)
        except OSError as error:
            print(repr(error), flush=True)


if __name__ == "__main__":
    main()
