from __future__ import annotations

import time

from common import Go, digest, event, gated_in_thread, slowly_in_thread
from flask import Flask, Response, request

go = Go()
app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"hello {name}"


@app.get("/stream")
def stream() -> Response:
    return Response(gated_in_thread(go, "first\n", "last\n"), mimetype="text/plain")


@app.get("/sse")
def sse() -> Response:
    return Response(gated_in_thread(go, "data: first\n\n", "data: last\n\n"), mimetype="text/event-stream")


@app.get("/busy")
def busy() -> Response:
    def pieces():
        try:
            while True:
                yield "data: more\n\n"
                time.sleep(0.02)
        finally:
            event("busy")

    return Response(pieces(), mimetype="text/event-stream")


@app.get("/go")
def allow() -> str:
    return go.now()


@app.post("/upload")
def upload() -> str:
    return digest(request.get_data())


@app.get("/error")
def error() -> str:
    raise RuntimeError("grid error")


@app.get("/background")
def background() -> Response:
    response = Response("ok")
    response.call_on_close(lambda: event("background"))
    return response


@app.get("/slow")
def slow() -> str:
    return slowly_in_thread()
