"""Hundreds of clients that ask for large responses and don't read them: what a worker holds for them has its bounds."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = 512
# What may wait to be sent on a connection, the piece that the application has just sent, and the slack of a connection.
MOST = 65536 + 65536 + 262144
if sys.implementation.name == "pypy":
    # What has been sent is there until the collector comes, which lets the memory double before.
    MOST *= 3


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    # A unix socket: the kernel takes some 200 KB of each response, where TCP takes megabytes.
    with Gunicorn("large_app:app", worker=worker, bind="unix:app.sock") as server:
        server.wait_log("Ready in")
        yield server


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("target", ["/pieces", "/whole"])
def test_clients_that_do_not_read(server: Gunicorn, target: str) -> None:
    if target == "/whole" and "loop asyncio" in server.log:
        pytest.skip("asyncio's transport copies what it can't send at once")
    path = str(server.dir / "app.sock")

    def taken() -> bytes:
        with Connection(path, PATIENCE) as connection:
            connection.request("/")
            return connection.response().body

    taken()
    (pid,) = server.workers()
    before = resident(pid)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE)
            client.connect(path)
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            # The response has begun.
            assert client.recv(1)
        until(lambda: taken() == taken(), "an application that waits")
        assert resident(pid) - before < CLIENTS * MOST
    assert taken()
