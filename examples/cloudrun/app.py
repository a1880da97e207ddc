from __future__ import annotations

from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/")
async def root(request: Request) -> dict[str, str]:
    return {"message": "Hello from Cloud Run", "http": request.scope["http_version"], "scheme": request.url.scheme}
