"""The life of each worker under Python's development mode, where every warning is an error: none is given."""

from __future__ import annotations

import re
import signal

import httpx
import pytest

from tests.e2e.harness import H11, HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.e2e.websocket.client import PYTHONPATH, open_socket

H2C = "uvicorn_worker.UvicornH2CWorker"

# As `python -X dev -W error` has it, for all processes: what is left open tells of itself, too.
STRICT = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", "PYTHONASYNCIODEBUG": "1"}
COMPLAINTS = re.compile(r".*(?:Warning|Traceback|Exception ignored|never awaited|never retrieved).*")


def talk(server: Gunicorn, *, http2: bool) -> None:
    """Requests with and without a body, one after the other and on a connection of its own, and a WebSocket."""
    with httpx.Client(
        base_url=server.url,
        http1=not http2,
        http2=http2,
        timeout=PATIENCE,
        trust_env=False,
        verify=False,  # noqa: S501
    ) as client:
        answers = [client.get("/"), client.post("/", content=b"x" * 100_000), client.head("/"), client.get("/")]
    assert [(answer.status_code, answer.http_version) for answer in answers] == [
        (200, "HTTP/2" if http2 else "HTTP/1.1")
    ] * 4
    assert server.get().text == "Hello, world!"
    with open_socket(server) as socket:
        for message in ("text", b"bytes", "long " * 20_000):
            socket.send(message)
            assert socket.recv(PATIENCE) == message


@pytest.mark.parametrize("worker", [HTTPTOOLS, H11, H2C])
def test_no_warning_is_given(worker: str) -> None:
    server = Gunicorn("socket_probe:app", *PYTHONPATH, worker=worker, workers=2, env=STRICT)
    with server:
        server.wait_log("Ready in")
        old = set(server.workers())
        talk(server, http2=worker == H2C)
        server.signal(signal.SIGHUP)
        server.wait_started(4)
        until(lambda: not old & set(server.workers()), "the end of the old workers")
        talk(server, http2=False)
        assert server.stop_gracefully() == 0
        assert len(server.events("shutdown")) == 4
        assert COMPLAINTS.findall(server.log + server.out) == []
