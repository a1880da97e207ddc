"""WebSockets in FastAPI."""

from __future__ import annotations

import asyncio
from typing import Annotated

from eventlog import event
from fastapi import Cookie, Depends, FastAPI, Query, WebSocket, WebSocketDisconnect, WebSocketException, status

app = FastAPI()


async def get_user(
    session: Annotated[str | None, Cookie()] = None, token: Annotated[str | None, Query()] = None
) -> str:
    if session is None and token is None:
        raise WebSocketException(code=status.WS_1008_POLICY_VIOLATION, reason="who are you?")
    return session or token or ""


@app.websocket("/items/{number}")
async def items(websocket: WebSocket, number: int, user: Annotated[str, Depends(get_user)], q: str = "") -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_json({"number": number, "user": user, "q": q, "text": text})
    except WebSocketDisconnect as exc:
        event("left", exc.code)


@app.websocket("/late")
async def late(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_bytes()
    raise WebSocketException(code=status.WS_1008_POLICY_VIOLATION, reason="not like this")


@app.websocket("/fail")
async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("the app went wrong")


@app.websocket("/clock")
async def clock(websocket: WebSocket) -> None:
    """Sends until the client leaves."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.01)
    except WebSocketDisconnect:
        event("left", "while sending")
