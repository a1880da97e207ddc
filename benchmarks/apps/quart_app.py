"""The Quart application of the `quart` scenario: one JSON route."""

from __future__ import annotations

from quart import Quart

app = Quart(__name__)


@app.get("/")
async def home() -> dict[str, str]:
    return {"message": "Hello, World!"}
