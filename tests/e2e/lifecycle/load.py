"""Clients that go on asking, and count what was lost: the answer to every request that was sent."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.e2e.harness import PATIENCE
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Load"]


class Load:
    """`clients` of them, half with a connection that is kept, half with a fresh one for each request.

    `quick` and `slow` are what they ask for. A client heeds `Connection: close`. Any other end of a connection is an
    error: `stop()` raises it.
    """

    def __init__(
        self, address: tuple[str, int] | str, clients: int = 8, slow: str = "/sleep?s=0.05", quick: str = "/"
    ) -> None:
        self._address = address
        self._enough = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self.answered: Counter[str] = Counter()
        self._clients: list[Future[None]] = [
            self._pool.submit(self._ask, keep=number % 2 == 0, target=quick if number % 4 < 2 else slow)
            for number in range(clients)
        ]

    def __enter__(self) -> Load:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._enough.set()
        self._pool.shutdown()

    def _ask(self, *, keep: bool, target: str) -> None:
        fields = () if keep else ("Connection: close",)
        while not self._enough.is_set():
            with Connection(self._address, PATIENCE) as connection:
                while not self._enough.is_set():
                    response = connection.get(target, *fields)
                    assert response.status == 200
                    self.answered[response.headers.get("x-pid", "")] += 1
                    if response.closes or not keep:
                        assert connection.rest() == b""
                        break

    @property
    def failed(self) -> bool:
        """Whether a client has met an error already."""
        return any(client.done() for client in self._clients)

    def stop(self) -> Counter[str]:
        """How many answers each worker gave; raises what a client met."""
        self._enough.set()
        for client in self._clients:
            client.result(PATIENCE)
        return self.answered
