"""The option `threads`, and asyncio's default executor: it is never smaller than Python's own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from tests.http1.apps import answer
from tests.scripted import get
from tests.server.conftest import serving
from tests.sockets import Peer, Run, listen

if TYPE_CHECKING:
    import pytest

PATIENCE = 20.0


async def names(scope: Any, receive: Any, send: Any) -> None:
    """How many threads serve more calls at once than there may be threads."""

    def name(number: int) -> str:
        return threading.current_thread().name

    found = await asyncio.gather(*[asyncio.to_thread(name, number) for number in range(100)])
    await answer(send, b"%d" % len(set(found)))


async def meet(scope: Any, receive: Any, send: Any) -> None:
    """Needs three threads at once."""
    barrier = threading.Barrier(3)
    await asyncio.gather(*[asyncio.to_thread(barrier.wait, PATIENCE) for _ in range(3)])
    await answer(send, b"met")


def test_fewer_do_not_shrink_it(run: Run) -> None:
    async def main() -> bytes:
        sock = listen()
        async with serving(meet, sock, threads=2):
            return (await (await Peer.connect(sock)).ask(get())).body

    assert run(main()) == b"met"


def test_no_more_than_these(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn_worker.server.server.own_threads", lambda: 1)

    async def main() -> bytes:
        sock = listen()
        async with serving(names, sock, threads=2):
            return (await (await Peer.connect(sock)).ask(get())).body

    assert run(main()) in (b"1", b"2")


def test_as_many_as_these(run: Run) -> None:
    async def main() -> bytes:
        sock = listen()
        async with serving(meet, sock, threads=60):
            return (await (await Peer.connect(sock)).ask(get())).body

    assert run(main()) == b"met"
