"""Paths that have cost workers: each request for one of them blocks the event loop until its worker is aborted.

The workers of one master share a table: of each path a hash, how many workers it has cost, and when it did so last.
With the option block_repeat_offenders, a path that has cost two within so many seconds is refused for as long.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Offenders", "refusing"]

# How many workers a path has cost when it is refused.
ENOUGH = 2
# How many paths are known of; the one that was seen longest ago makes room.
ROOM = 64
# Words of eight bytes of a path: its hash, how often, when it was last (of time.monotonic_ns()).
_WORDS = 3
_HASH, _COUNT, _LAST = range(_WORDS)


class Offenders:
    """What the workers of one master know of such paths; made in the master, before the first fork.

    Two that are aborted in the same moment may count as one: a third comes soon, then.
    """

    _of_master: ClassVar[Offenders | None] = None

    @classmethod
    def of_master(cls) -> Offenders:
        """What is there since before the fork, or is made now; a new master (USR2) is another program."""
        found = cls._of_master
        if found is None:
            found = cls._of_master = cls()
        return found

    def __init__(self) -> None:
        self._counted: Any = None
        self._words = memoryview(mmap.mmap(-1, ROOM * _WORDS * 8)).cast("q")

    def add(self, path: str, seconds: float) -> int:
        """`path` has cost a worker; gives how many it has cost, with no more than `seconds` from one to the next."""
        words, wanted, now = self._words, _hash(path), time.monotonic_ns()
        at = min(range(0, ROOM * _WORDS, _WORDS), key=lambda at: (words[at] != wanted, words[at + _LAST]))
        is_recent = words[at] == wanted and now - words[at + _LAST] <= seconds * 1e9
        words[at + _COUNT] = words[at + _COUNT] + 1 if is_recent else 1
        words[at + _LAST] = now
        words[at] = wanted
        return int(words[at + _COUNT])

    def add_once(self, cycle: Any, seconds: float) -> None:
        """The same for a request, however often it is said."""
        if self._counted is not cycle:
            self._counted = cycle
            self.add(cycle.scope["path"], seconds)

    def refuses(self, path: str, seconds: float) -> bool:
        """Whether `path` has cost enough workers, the last one within `seconds`."""
        words = self._words
        if not words[_HASH]:
            # The first place is taken first: none has cost any yet.
            return False
        wanted = _hash(path)
        for at in range(0, ROOM * _WORDS, _WORDS):
            if words[at] == wanted:
                return bool(words[at + _COUNT] >= ENOUGH and time.monotonic_ns() - words[at + _LAST] <= seconds * 1e9)
        return False


def _hash(path: str) -> int:
    """Python's own: all that are forked by one master have its key. Never 0, which is a place that is free."""
    return hash(path) | 1


def refusing(app: ASGIApp, offenders: Offenders, seconds: float, say: Callable[..., Any]) -> ASGIApp:
    """`app`, but for paths that are refused with 503; `say` logs, once a second at the most."""
    said = 0.0

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal said
        if scope["type"] not in ("http", "websocket") or not offenders.refuses(scope["path"], seconds):
            await app(scope, receive, send)
            return
        if (now := time.monotonic()) >= said + 1.0:
            said = now
            say("%s is refused: it has blocked and cost workers (block_repeat_offenders)", scope["path"])
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        text = b"Service Unavailable"
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"retry-after", b"%d" % max(round(seconds), 1)),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": fields})
        await send({"type": "http.response.body", "body": text})

    return guarded
