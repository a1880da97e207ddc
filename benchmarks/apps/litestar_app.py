"""The Litestar application of the `litestar` scenario: one JSON route."""

from __future__ import annotations

from litestar import Litestar, get


@get("/")
async def home() -> dict[str, str]:
    return {"message": "Hello, World!"}


app = Litestar([home])
