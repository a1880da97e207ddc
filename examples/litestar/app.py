"""A board of notes: JSON in and out, a stream, server-sent events, a WebSocket, and a task behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Response, get, post, websocket_listener
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State  # noqa: TC002 - Litestar reads the annotations
from litestar.exceptions import NotFoundException
from litestar.response import ServerSentEvent


@dataclass
class Note:
    text: str


@asynccontextmanager
async def notes(app: Litestar) -> AsyncIterator[None]:
    """What lives as long as the worker is opened here, and closed after the last request."""
    app.state.notes = []
    app.state.words = 0
    yield
    app.state.notes.clear()


async def count_words(state: State, text: str) -> None:
    state.words += len(text.split())


@post("/notes")
async def add(data: Note, state: State) -> Response[dict[str, Any]]:
    state.notes.append(data.text)
    # It runs when the client has its answer.
    task = BackgroundTask(count_words, state, data.text)
    return Response({"id": len(state.notes), "text": data.text}, background=task)


@get("/notes/{number:int}")
async def show(number: int, state: State) -> dict[str, Any]:
    if not 0 < number <= len(state.notes):
        raise NotFoundException
    return {"id": number, "text": state.notes[number - 1]}


@get("/words")
async def words(state: State) -> dict[str, int]:
    return {"words": state.words}


@get("/ticks")
async def ticks() -> ServerSentEvent:
    async def numbers() -> AsyncIterator[str]:
        for number in range(5):
            yield str(number)
            await asyncio.sleep(0.1)

    return ServerSentEvent(numbers())


@websocket_listener("/echo")
async def echo(data: str) -> str:
    return data


app = Litestar([add, show, words, ticks, echo], lifespan=[notes])
