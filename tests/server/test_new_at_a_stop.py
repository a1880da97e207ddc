"""Connections that have been opened right before a stop, and whose clients are about to send their first request.

On a machine that has much to do a client may get no time for that before the connection would be closed as an idle one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Site, client_context
from tests.http1.apps import hello
from tests.proxies.proxy_headers import v1
from tests.scripted import get
from tests.server.running import App, Running, until
from tests.sockets import Peer, Run
from uvicorn_worker.server import acceptor
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.drain import Drain, Schedule

Log = Callable[..., list[str]]

# The second for which a handshake, too, is waited for, and more.
LONGER = 1.3


@pytest.mark.parametrize("begin", ["light", "with a transport", "tls", "any protocol", "proxy"])
def test_a_first_request_is_answered(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: str) -> None:
    options: dict[str, Any] = {}
    request, context = get(), None
    if begin == "with a transport":
        monkeypatch.setattr(acceptor, "can_be_light", lambda loop: False)
    elif begin == "tls":
        options, context = Site(tmp_path).options, client_context()
    elif begin == "any protocol":
        options["http2"] = True
    elif begin == "proxy":
        options["proxy_protocol"] = "v1"
        request = v1() + request

    async def main() -> None:
        async with Running(App(), **options) as running:
            runtime = running.server.own_runtime
            new, silent = [await Peer.connect(running.sock, context) for _ in range(2)]
            await until(lambda: len(runtime.connections) == 2)
            running.server.should_exit = True
            await until(lambda: runtime.draining)
            await asyncio.sleep(0.7)
            response = await new.ask(request)
            assert (response.status, response.closes) == (200, True)
            # One that has nothing to say is let go after a while.
            assert await silent.rest() == b""
            await running.stopped()

    run(main())


@pytest.mark.parametrize("begun", [b"P", v1()[:9]], ids=["a request", "a header of the PROXY protocol"])
def test_its_first_bytes_are_enough(run: Run, begun: bytes) -> None:
    """One that may yet become a request is not closed, as half a head is not."""
    header = b"" if begun == b"P" else v1()
    options: dict[str, Any] = {"proxy_protocol": "v1"} if header else {"http2": True}
    rest = (header + get(method="POST"))[len(begun) :]

    async def main() -> None:
        async with Running(App(), **options) as running:
            peer = await running.ask(begun)
            await until(lambda: any(not each.idle for each in running.server.own_runtime.connections))
            running.server.should_exit = True
            await until(lambda: running.server.own_runtime.draining)
            await asyncio.sleep(LONGER)
            assert (await peer.ask(rest)).status == 200
            await running.stopped()

    run(main())


def test_the_moment_between_its_header_and_its_connection_is_no_handshake(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the PROXY protocol. The stop has lasted for longer than a handshake may, and looks in that very moment."""
    make = Acceptor._make_protocol

    async def main() -> None:
        async with Running(App(), proxy_protocol="v1") as running:
            server = running.server
            drain = Drain(server.own_runtime, server.own_acceptor, Schedule(0.0, None), asyncio.Event(), bool)
            drain._begun -= LONGER

            def look_and_make(self: Acceptor, *arguments: Any) -> Any:
                with contextlib.suppress(StopIteration):
                    drain._close_idle(time.monotonic()).send(None)
                return make(self, *arguments)

            monkeypatch.setattr(Acceptor, "_make_protocol", look_and_make)
            peer = await running.ask(v1() + get("/", "Connection: close"))
            assert (await peer.rest()).startswith(b"HTTP/1.1 200 ")

    run(main())


def test_one_that_has_been_silent_for_longer_is_closed_at_once(run: Run) -> None:
    async def main() -> None:
        async with Running(App()) as running:
            silent = await Peer.connect(running.sock)
            await until(lambda: any(each.rest_until > 0 for each in running.server.own_runtime.connections))
            # No time passes any more for connections: one that has just been opened would be waited for without end.
            assert running.server._own_ticker is not None
            running.server._own_ticker.stop()
            await running.stop()
            assert await silent.rest() == b""

    run(main())


def test_it_is_closed_when_the_time_is_over(run: Run, log: Log) -> None:
    async def main() -> None:
        async with Running(App(hello), timeout_graceful_shutdown=0.5) as running:
            silent = await Peer.connect(running.sock)
            await until(lambda: running.server.own_runtime.connections)
            running.server.should_exit = True
            assert await silent.rest() == b""
            await silent.close()
            await running.stopped()

    run(main())
    assert log(logging.WARNING) == []
