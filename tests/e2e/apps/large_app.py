"""Large responses, in pieces that are made one after the other or in one, and how much of them was taken so far."""

from __future__ import annotations

from collections import Counter
from typing import Any

PIECE = 65536
COUNT = 256
WHOLE = b"x" * (PIECE * COUNT)

taken: Counter[str] = Counter()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/pieces`: 16 MiB in pieces that are made; `/whole`: the same in one; other paths: how many pieces were taken."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/pieces":
        for number in range(COUNT):
            await send({"type": "http.response.body", "body": b"%c" % number * PIECE, "more_body": True})
            taken["pieces"] += 1
        await send({"type": "http.response.body"})
    elif scope["path"] == "/whole":
        await send({"type": "http.response.body", "body": WHOLE})
    else:
        await send({"type": "http.response.body", "body": b"%d" % taken.total()})
