"""``--reload``: every edit restarts the worker, whatever is open; what can't be loaded is shown as a page."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn, until
from tests.e2e.raw import Connection, Truncated

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/stream":
        await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"version VERSION"})
"""


def edit(server: Gunicorn, text: str, name: str = "edited.py") -> None:
    """Write a file anew, and go on touching it until that is noticed.

    A watcher takes a file as it finds it in its first round, and nothing tells when that was.
    """
    path, noticed = server.dir / name, server.log.count("Worker reloading")
    before = path.stat().st_mtime
    path.write_text(text)

    def touch() -> bool:
        nonlocal before
        if time.time() > before + 2:
            before = time.time()
            os.utime(path, (before, before))
        return server.log.count("Worker reloading") > noticed

    until(touch, "the watcher to notice an edit")


def answer(server: Gunicorn) -> str | None:
    """The body of an answer to a plain request; None while the worker is being replaced."""
    with contextlib.suppress(OSError, Truncated, AssertionError), server.connect() as connection:
        return connection.get("/").body.decode()
    return None


def wait_answer(server: Gunicorn, pattern: str) -> str:
    return until(
        lambda: text if (text := answer(server)) is not None and re.search(pattern, text) else None, repr(pattern)
    )


def open_stream(server: Gunicorn) -> Connection:
    stream = server.connect()
    stream.request("/stream")
    return stream


def test_each_edit_is_served_also_with_a_stream_open(serve: Serve) -> None:
    files = {"edited.py": APP.replace("VERSION", "1")}
    server = serve("edited:app", "--reload", "--reload-engine", "poll", worker=HTTPTOOLS, files=files)
    with contextlib.ExitStack() as streams:
        for version in (1, 2, 3):
            wait_answer(server, f"version {version}")
            streams.enter_context(open_stream(server))
            edit(server, APP.replace("VERSION", str(version + 1)))
        wait_answer(server, "version 4")
    assert "Traceback" not in server.log


def test_what_can_not_be_loaded_is_shown_until_it_is_mended(serve: Serve) -> None:
    files = {"edited.py": APP.replace("VERSION", "1")}
    server = serve("edited:app", "--reload", "--reload-engine", "poll", worker=H11, files=files)
    wait_answer(server, "version 1")
    edit(server, "app = (\n")
    page = wait_answer(server, "SyntaxError")
    assert "edited.py" in page
    edit(server, "import no_such_module_at_all\n")
    assert "edited.py" in wait_answer(server, "no_such_module_at_all")
    edit(server, APP.replace("VERSION", "2"))
    wait_answer(server, "version 2")


def test_a_startup_that_fails_is_shown_too(serve: Serve) -> None:
    server = serve(
        "probe:app", "--reload", "--reload-engine", "poll", worker=HTTPTOOLS, env={"PROBE_LIFESPAN": "failed"}
    )
    wait_answer(server, "startup gave up")


def test_a_change_of_an_extra_file_reloads_too(serve: Serve) -> None:
    files = {"edited.py": APP.replace("VERSION", "1"), "template.html": "one"}
    options = ("--reload", "--reload-engine", "poll", "--reload-extra-file", "template.html")
    server = serve("edited:app", *options, worker=HTTPTOOLS, files=files)
    wait_answer(server, "version 1")
    edit(server, "two", "template.html")
    wait_answer(server, "version 1")
