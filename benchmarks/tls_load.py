"""Load generator for TLS: a connection for each request, with a full handshake or a resumed session.

A process of its own, which `load.py` starts on the load's core. A handshake costs a client about what it costs a
server, so the rate says little; the server's CPU time for each connection is what is compared. Each client does what
browsers and curl do: it reads the answer up to the server's close_notify, sends its own, and closes. With `--resumed`
it comes back with the session that its last connection was given; one that is not resumed counts as an error.

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Generator, Iterator

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Visits:
    """Connects again and again, with one request each."""

    def __init__(self, port: int, tls: str, *, resumed: bool) -> None:
        self.visits = 0
        self.errors = {"failed": 0, "status": 0, "not resumed": 0}
        self.latencies_us: list[int] = []
        self._address = ("127.0.0.1", port)
        self._resumed = resumed
        self._request = f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode()
        self._context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # What the certificate says is not what is measured.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = VERSIONS[tls]
        context.set_alpn_protocols(["http/1.1"])

    def run(self, clients: int, seconds: float) -> None:
        """Have `clients` connections under way for so long."""
        self._end = time.perf_counter() + seconds
        epoll = select.epoll()
        steps = {}
        for _ in range(clients):
            client = self._client(epoll)
            steps[next(client)] = client
        while steps:
            for fd, _ in epoll.poll(5.0) or sys.exit("the server has stopped answering"):
                client = steps.pop(fd)
                if (waits := next(client, None)) is not None:
                    steps[waits] = client

    def _client(self, epoll: select.epoll) -> Iterator[int]:
        """One client; gives the descriptor of which epoll tells when it goes on."""
        session: ssl.SSLSession | None = None
        while (started := time.perf_counter()) < self._end:
            plain = socket.socket()
            plain.connect(self._address)
            # The request follows the end of the handshake, and is not to wait for it to be confirmed.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setblocking(False)
            sock = self._context.wrap_socket(plain, do_handshake_on_connect=False, session=session)
            fd = sock.fileno()
            epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
            try:
                answer, reused, given = yield from self._visit(sock, fd, epoll)
            except OSError:
                self.errors["failed"] += 1
            else:
                now = time.perf_counter()
                self.latencies_us.append(int((now - started) * 1e6))
                self.visits += 1
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.errors["status"] += 1
                if reused != (session is not None) or (self._resumed and given is None):
                    self.errors["not resumed"] += 1
                if self._resumed:
                    session = given
            sock.close()

    def _visit(
        self, sock: ssl.SSLSocket, fd: int, epoll: select.epoll
    ) -> Generator[int, None, tuple[bytes, bool | None, ssl.SSLSession | None]]:
        """A handshake, a request, its answer, and both close_notify.

        Gives what was answered, whether the session was resumed, and the one for the next time.
        """
        answer, reused, given = b"", None, None
        for step in (sock.do_handshake, lambda: sock.send(self._request), lambda: sock.recv(65536), sock.unwrap):
            if step == sock.unwrap:
                # The tickets of TLS 1.3 have come with the answer; unwrap() forgets them.
                reused, given = sock.session_reused, sock.session
            while True:
                try:
                    done = step()
                except _WAITS as want:
                    out = isinstance(want, ssl.SSLWantWriteError)
                    epoll.modify(fd, (select.EPOLLOUT if out else select.EPOLLIN) | select.EPOLLONESHOT)
                    yield fd
                    continue
                if isinstance(done, bytes) and done:
                    answer += done
                    continue
                break
        return answer, reused, given


def main() -> None:
    parser = argparse.ArgumentParser(description="Load generator for TLS connections; benchmarks.run uses it.")
    for name in ("port", "connections", "seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--tls", choices=VERSIONS, default="1.3")
    parser.add_argument("--resumed", action="store_true")
    parser.add_argument("--core", type=int, help="run on this core only")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    load = Visits(options.port, options.tls, resumed=options.resumed)
    gc.disable()
    started, used = time.perf_counter(), time.process_time()
    load.run(options.connections, options.seconds)
    elapsed = time.perf_counter() - started
    busy = (time.process_time() - used) / elapsed
    times = sorted(load.latencies_us) or [0]
    result = {
        "requests": load.visits,
        "seconds": elapsed,
        "errors": load.errors,
        "latency_p50_ms": times[len(times) // 2] / 1e3,
        "latency_p99_ms": times[len(times) * 99 // 100] / 1e3,
        "busy": busy,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
