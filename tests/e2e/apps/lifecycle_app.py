"""An app whose requests last, hold memory, or hold up the process in ways that the tests of the lifecycle ask for."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from urllib.parse import parse_qs

from eventlog import event

Scope = dict[str, Any]

held: list[Any] = []


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
    await VIEWS[scope["path"]](query, receive, send)


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    event("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    event("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, body: bytes = b"ok", status: int = 200) -> None:
    fields = [(b"content-length", b"%d" % len(body)), (b"x-pid", b"%d" % os.getpid())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def hello(query: dict[str, str], receive: Any, send: Any) -> None:
    await answer(send)


async def health(query: dict[str, str], receive: Any, send: Any) -> None:
    """Whether a load balancer is to send requests here."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    stopping = getattr(server, "should_exit", False)
    await answer(send, b"stopping" if stopping else b"ready", 503 if stopping else 200)


async def sleep(query: dict[str, str], receive: Any, send: Any) -> None:
    event("sleeping")
    await asyncio.sleep(float(query["s"]))
    await answer(send, b"slept")


async def stream(query: dict[str, str], receive: Any, send: Any) -> None:
    """Endless, but heeds http.disconnect."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"tick", "more_body": True})
    event("streaming")
    while (await receive())["type"] != "http.disconnect":
        pass
    event("told")
    await send({"type": "http.response.body", "body": b"bye"})


async def poll(query: dict[str, str], receive: Any, send: Any) -> None:
    """Waits for an event that does not come, and heeds http.disconnect."""
    event("polling")
    while (await receive())["type"] != "http.disconnect":
        pass
    event("told")


async def fork(query: dict[str, str], receive: Any, send: Any) -> None:
    """A child of the application's own, which outlives the worker unless it is told to end."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    await answer(send, b"%d" % pid)


async def process(query: dict[str, str], receive: Any, send: Any) -> None:
    """A child as multiprocessing makes it, which outlives the worker unless it is told to end."""
    context: Any = multiprocessing.get_context(query["method"])
    child = context.Process(target=time.sleep, args=(60,), daemon="daemon" in query)
    child.start()
    held.append(child)
    await answer(send, b"%d" % child.pid)


async def pool(query: dict[str, str], receive: Any, send: Any) -> None:
    """A pool of processes that has done its work; or one that is at it, which nobody waits for."""
    executor = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    pid = await asyncio.get_running_loop().run_in_executor(executor, os.getpid)
    held.append(executor)
    if "busy" in query:
        executor.submit(time.sleep, 60)
    await answer(send, b"%d" % pid)


async def fork_and_return(query: dict[str, str], receive: Any, send: Any) -> None:
    """A child that forgets to end: by an exception of its own, by an exit, or not at all."""
    pid = os.fork()
    if pid == 0:
        if query["by"] == "exit":
            sys.exit(3)
        if query["by"] == "error":
            raise RuntimeError("in the child")
        await asyncio.sleep(0)
        event("went-on")
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it ends in this turn of the loop
    await answer(send, b"%d" % os.waitstatus_to_exitcode(status))


async def fork_and_close(query: dict[str, str], receive: Any, send: Any) -> None:
    """A response whose end is that of the connection, while a child lives that was forked meanwhile."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % pid, "more_body": True})
    await send({"type": "http.response.body"})


async def thread(query: dict[str, str], receive: Any, send: Any) -> None:
    """A view that is not asynchronous, in a thread that can't be cancelled."""
    event("in-thread")
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, float(query["s"]))
    await answer(send)


async def crunch(query: dict[str, str], receive: Any, send: Any) -> None:
    """Hold up the event loop in C, where no Python signal handler runs; the GIL is free."""
    event("crunching")
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000_000_000)
    await answer(send)


async def hold(query: dict[str, str], receive: Any, send: Any) -> None:
    held.append(bytearray(b"x" * int(query["mb"]) * 1048576))
    await answer(send)


VIEWS = {
    "/": hello,
    "/health": health,
    "/sleep": sleep,
    "/stream": stream,
    "/poll": poll,
    "/fork": fork,
    "/process": process,
    "/pool": pool,
    "/fork-and-return": fork_and_return,
    "/fork-and-close": fork_and_close,
    "/thread": thread,
    "/crunch": crunch,
    "/hold": hold,
}
