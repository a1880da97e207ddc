"""A FastAPI app with one of everything that the tests ask for."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from eventlog import event
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    event("startup")
    yield {"greeting": "from the lifespan", "gate": asyncio.Event(), "visits": 0}
    event("shutdown")


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@app.get("/sync")
def sync_view() -> dict[str, bool]:
    return {"main_thread": _in_main_thread()}


@app.get("/async")
async def async_view() -> dict[str, bool]:
    await asyncio.sleep(0)
    return {"main_thread": _in_main_thread()}


@app.get("/items/{number}")
async def read_item(number: int, q: str = "none") -> dict[str, Any]:
    return {"number": number, "q": q}


@app.post("/items", status_code=201)
async def create_item(item: Item) -> dict[str, Any]:
    return {"total": item.price * 2, **item.model_dump()}


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "no such thing")


@app.get("/fail")
async def fail() -> None:
    raise RuntimeError("the view went wrong")


@app.get("/state")
async def state(request: Request) -> dict[str, Any]:
    request.state.visits += 1  # in this request's copy only
    return {"greeting": request.state.greeting, "visits": request.state.visits}


@app.get("/stream")
async def stream(parts: int) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        for number in range(parts):
            yield f"part {number}\n"

    return StreamingResponse(body(), media_type="text/plain")


@app.get("/gated")
async def gated(request: Request) -> StreamingResponse:
    """The second part is made only after a request to /open."""
    gate = request.state.gate
    gate.clear()

    async def body() -> AsyncIterator[str]:
        yield "first"
        await gate.wait()
        yield "second"

    return StreamingResponse(body(), media_type="text/plain")


@app.post("/open", status_code=204)
async def open_gate(request: Request) -> None:
    request.state.gate.set()


@app.post("/upload")
async def upload(request: Request) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/background/{name}", status_code=202)
async def background(name: str, tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(_background, name)
    return {"accepted": name}


async def _background(name: str) -> None:
    await asyncio.sleep(0.1)
    event("background", name)
