"""Applications in which the effect of a setting can be seen."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from eventlog import event


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        event("lifespan")
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    elif scope["path"] == "/sleep":
        event("sleeping")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            event("cancelled")
            raise
    else:
        seen = {
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "root_path": scope["root_path"],
            "path": scope["path"],
            "scheme": scope["scheme"],
            **{name.decode(): value.decode() for name, value in scope["headers"]},
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    event("running")
    while not Path(os.environ["E2E_DIR"], "go-on").exists():  # made by the test, which is another process
        time.sleep(0.01)
    start_response("200 OK", [])
    return [b"done"]
