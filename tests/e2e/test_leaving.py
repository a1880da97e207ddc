"""Applications of frameworks learn at once that their clients have left, and none of it is an error."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until

H2C = "uvicorn_worker.UvicornH2CWorker"
STREAMS = ["/starlette/stream", "/middleware/stream", "/fastapi/stream", "/django/stream"]
if importlib.util.find_spec("fastapi.sse"):
    STREAMS.append("/fastapi/events")
# What each does at its end.
DOES = {
    "finally": [*STREAMS, "/starlette/second"],
    "background": [*(path for path in STREAMS if "django" not in path), "/starlette/file", "/starlette/second"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Gunicorn]:
    with Gunicorn("leaving_app:app", worker=H2C) as server:
        yield server


def leave(server: Gunicorn, path: str, http2: bool) -> None:
    """Ask for a stream, read the beginning of it, and leave."""
    with (
        httpx.Client(http1=not http2, http2=http2, timeout=PATIENCE) as client,
        client.stream("GET", server.url + path) as response,
    ):
        assert response.status_code == 200
        next(response.iter_raw())


def count(server: Gunicorn, name: str, path: str) -> int:
    return len([1 for each in server.events(name) if each.detail == path])


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("path", [*STREAMS, "/starlette/second", "/starlette/file"])
def test_what_it_does_then(server: Gunicorn, path: str, http2: bool) -> None:
    """Long before the minute is over for which the generators sleep."""
    names = [name for name in ("finally", "background") if path in DOES[name]]
    before, log = {name: count(server, name, path) for name in names}, len(server.log)
    leave(server, path, http2)
    for name in names:
        until(lambda: count(server, name, path) > before[name], f"{name} of {path}")  # noqa: B023 - awaited at once
    assert httpx.get(server.url + "/none", timeout=PATIENCE).status_code == 404
    for word in ("Traceback", "[ERROR]", "[WARNING]"):
        assert word not in server.log[log:]


@pytest.mark.parametrize("path", ["/starlette/stream", "/django/stream"])
def test_a_stream_that_ends_at_a_stop_is_no_error(serve: Callable[..., Gunicorn], path: str) -> None:
    server = serve("leaving_app:app", "--graceful-timeout", "3", worker=H2C)
    with server.connect() as connection:
        connection.request(path)
        assert connection.head().status == 200
        assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log
    assert "[ERROR]" not in server.log


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_stream_without_an_event_yet_is_open(server: Gunicorn, http2: bool) -> None:
    """An EventSource waits for the head, and the head does not wait for an event."""
    with (
        httpx.Client(http1=not http2, http2=http2, timeout=PATIENCE) as client,
        client.stream("GET", server.url + "/starlette/silent") as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
