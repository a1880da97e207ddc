"""What the words of the options http, ws, lifespan and loop stand for, by the tables that uvicorn has for them.

Programs put something of their own there, by a word that is new or one that is known: a protocol class, what makes a
lifespan, or what gives a factory of event loops, mostly as 'module:attribute'.
"""

from __future__ import annotations

from typing import Any

__all__ = ["HTTP_PROTOCOLS", "LIFESPAN", "LOOP_FACTORIES", "WS_PROTOCOLS", "Table"]


class Table(dict[str, Any]):
    """Each word with what it stands for."""

    __slots__ = ("_ours",)

    def __init__(self, ours: dict[str, Any]) -> None:
        super().__init__(ours)
        self._ours = ours

    def brought(self, word: Any) -> Any:
        """What somebody has put there for a word; None where it is what was here."""
        if not isinstance(word, str) or word not in self or self[word] == self._ours.get(word):
            return None
        return self[word]


def _words(*words: str) -> Table:
    return Table({word: word for word in words})


# Protocols have no class that stands alone.
HTTP_PROTOCOLS = _words("auto", "h11", "httptools", "zttp")
WS_PROTOCOLS = _words("auto", "none", "websockets", "websockets-sansio", "wsproto")
LIFESPAN = Table(
    {
        "auto": "uvicorn_worker.lifespan.on:LifespanOn",
        "on": "uvicorn_worker.lifespan.on:LifespanOn",
        "off": "uvicorn_worker.lifespan.off:LifespanOff",
    }
)
LOOP_FACTORIES = Table(
    {
        "none": None,
        "auto": "uvicorn_worker.loops.auto:auto_loop_factory",
        "asyncio": "uvicorn_worker.loops.asyncio:asyncio_loop_factory",
        "uvloop": "uvicorn_worker.loops.uvloop:uvloop_loop_factory",
        "zuvloop": "uvicorn_worker.loops.auto:auto_loop_factory",
    }
)
