"""Files that are sent, and the message that asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.http1.apps import respond, start
from tests.scripted import ScriptedTransport
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send

__all__ = ["SentBesideOthers", "file_maker", "pathsend"]


def pathsend(path: Any) -> Event:
    """The message of the extension http.response.pathsend."""
    return {"type": "http.response.pathsend", "path": str(path)}


def file_maker(folder: Path) -> Callable[[int], Path]:
    """A function that makes a file of a size."""

    def make_file(size: int) -> Path:
        path = folder / f"file{size}"
        path.write_bytes(os.urandom(size))
        return path

    return make_file


class SentBesideOthers:
    """An application that sends a file, and sees in each turn of the loop how much the transport was given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: list[int] = []
        self.transport: ScriptedTransport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def beside() -> None:
            while True:
                self._seen.append(sum(map(len, self.transport.writes)))
                await asyncio.sleep(0)

        other = asyncio.create_task(beside())
        await respond(start(), pathsend(self._path))(scope, receive, send)
        other.cancel()

    def most_in_a_turn(self) -> int:
        """The bytes of the longest of these turns."""
        return max(after - before for before, after in pairwise(self._seen))
