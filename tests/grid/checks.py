"""One function for each feature. It raises where the thing does not work, and may return a word about how it does."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
from websockets.sync.client import connect

from tests.e2e.harness import PATIENCE, Gunicorn, alive, until
from tests.e2e.lifecycle.load import Load
from tests.grid.entries import Entry
from tests.grid.environments import Environment

__all__ = ["CHECKS", "LAST", "Subject"]

# How long the handler of a quiet stream may take to hear that its client has left.
_TOLD_WITHIN = 3.0


class Subject:
    """A server with an entry's application, and the way that it is spoken to."""

    def __init__(self, entry: Entry, environment: Environment, server: Gunicorn, *, http2: bool) -> None:
        self.entry, self.environment, self.server, self.http2 = entry, environment, server, http2

    def client(self) -> httpx.Client:
        # verify=False: there is no TLS here, and reading certificates takes longer than a request.
        return httpx.Client(
            base_url=self.server.url,
            timeout=PATIENCE,
            trust_env=False,
            verify=False,  # noqa: S501
            http1=not self.http2,
            http2=self.http2,
        )

    def get(self, path: str) -> httpx.Response:
        with self.client() as client:
            answer = client.get(path)
            assert answer.http_version == ("HTTP/2" if self.http2 else "HTTP/1.1")
            return answer

    def happens(self, name: str, before: int, timeout: float = PATIENCE) -> bool:
        """Whether there is one event more than there were."""
        with suppress(AssertionError):
            self.server.wait_events(name, before + 1, timeout)
            return True
        return False


def routing(subject: Subject) -> None:
    answer = subject.get(subject.entry.path)
    assert answer.status_code == 200, answer.text
    assert subject.entry.answers in answer.text, answer.text


def _in_two_pieces(subject: Subject, path: str, first: str, last: str) -> httpx.Response:
    with subject.client() as client, client.stream("GET", path) as response:
        pieces = response.iter_text()
        text = ""
        while first not in text:
            text += next(pieces)
        assert last not in text, "nothing was sent before all was there"
        assert subject.get("/go").text == "gone"
        text += "".join(pieces)
        assert text.index(first) < text.index(last)
        return response


def stream(subject: Subject) -> None:
    _in_two_pieces(subject, "/stream", "first\n", "last\n")


def sse(subject: Subject) -> None:
    response = _in_two_pieces(subject, "/sse", "data: first", "data: last")
    assert response.headers["content-type"].startswith("text/event-stream")


def upload(subject: Subject) -> None:
    body = os.urandom(1 << 16) * 48
    expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    fields = {"content-type": "application/octet-stream"}
    with subject.client() as client:
        for content in (body, iter([body[:100_000], body[100_000:]])):
            answer = client.post("/upload", content=content, headers=fields)
            assert (answer.is_success, answer.text) == (True, expected), answer.text[:200]


def websocket(subject: Subject) -> str:
    before = len(subject.server.events("websocket-left"))
    with connect(f"ws://127.0.0.1:{subject.server.port}/ws", proxy=None, open_timeout=PATIENCE) as client:
        for text in ("hello", "x" * 100_000):
            client.send(text)
            assert client.recv(PATIENCE) == text
    assert subject.happens("websocket-left", before), "the handler does not hear of the close"
    raw = socket.create_connection(("127.0.0.1", subject.server.port), PATIENCE)
    client = connect(f"ws://127.0.0.1:{subject.server.port}/ws", sock=raw, open_timeout=PATIENCE)
    client.send("hello")
    assert client.recv(PATIENCE) == "hello"
    raw.shutdown(socket.SHUT_RDWR)
    assert subject.happens("websocket-left", before + 1), "the handler does not hear of the client's end"
    return ""


def lifespan(subject: Subject) -> None:
    assert len(subject.server.events("startup")) >= 1


def error(subject: Subject) -> None:
    answer = subject.get("/error")
    assert answer.status_code == 500
    routing(subject)


def background(subject: Subject) -> None:
    before = len(subject.server.events("background"))
    answer = subject.get("/background")
    assert answer.status_code == 200
    assert subject.happens("background", before), "it does not run"


def client_leaves(subject: Subject) -> str:
    for path in ("quiet", "busy"):
        before = len(subject.server.events(path))
        with subject.client() as client, client.stream("GET", f"/{path}") as response:
            if response.status_code == 404 and path == "quiet":
                continue
            assert response.status_code == 200
            assert "data" in next(response.iter_text())
        if subject.happens(path, before, _TOLD_WITHIN if path == "quiet" else PATIENCE):
            return "at once" if path == "quiet" else "when it sends"
    raise AssertionError("the handler is not told")


def own_client(subject: Subject) -> None:
    script = Path(__file__).parent / "clients" / subject.entry.client
    command = [str(subject.environment.python), str(script), f"127.0.0.1:{subject.server.port}"]
    env = {**os.environ, "no_proxy": "*", "NO_PROXY": "*"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done.stderr[-1500:]
    for name in done.stdout.split():
        subject.server.wait_events(name)


def reload_under_load(subject: Subject) -> str:
    server, path = subject.server, subject.entry.path
    (old,) = server.workers()
    with Load(("127.0.0.1", server.port), clients=4, quick=path, slow=path) as load:
        until(lambda: load.answered.total() > 50 or load.failed, "answers")
        server.signal(signal.SIGHUP)
        until(lambda: not alive(old) or load.failed, "the end of the old worker", 240)
        after = load.answered.total()
        until(lambda: load.answered.total() > after + 50 or load.failed, "answers of the new worker")
        load.stop()
    return ""


def stop(subject: Subject) -> None:
    server = subject.server
    seen: list[str] = []
    until(lambda: len(server.workers()) == 1, "one worker")
    if "slow" in _paths(subject.entry):
        before = len(server.events("slow"))
        thread = threading.Thread(target=lambda: seen.append(subject.get("/slow").text))
        thread.start()
        assert subject.happens("slow", before)
        started = time.monotonic()
        assert server.stop_gracefully() == 0
        thread.join()
        assert seen == ["slow"], "the request that was under way has no answer"
    else:
        started = time.monotonic()
        assert server.stop_gracefully() == 0
    assert time.monotonic() - started < 60
    if "lifespan" not in subject.entry.lacks and server.events("startup"):
        assert len(server.events("shutdown")) == len(server.events("startup")), "the lifespan has no end"
    assert not re.search(r"was never awaited|Task was destroyed|Exception ignored", server.log)


def _paths(entry: Entry) -> set[str]:
    return set() if "stream" in entry.lacks else {"slow"}


CHECKS: dict[str, Callable[[Subject], str | None]] = {
    "routing": routing,
    "stream": stream,
    "upload": upload,
    "SSE": sse,
    "WebSocket": websocket,
    "lifespan": lifespan,
    "error": error,
    "background": background,
    "client leaves": client_leaves,
    "own client": own_client,
    "reload": reload_under_load,
    "stop": stop,
}
#: They end what the others need.
LAST = ("reload", "stop")
