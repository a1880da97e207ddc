"""Request metrics of a real gunicorn, as a statsd daemon gets them."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Gunicorn]


@pytest.fixture(params=["udp", "unix"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket, and how `--statsd-host` names it."""
    if request.param == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{sock.getsockname()[1]}"
    else:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(tmp_path / "s"))
        name = f"unix://{tmp_path / 's'}"
    sock.settimeout(PATIENCE)
    with sock:
        yield sock, name


@pytest.mark.parametrize("access_log", [False, True])
def test_with_and_without_an_access_log(serve: Serve, daemon: tuple[socket.socket, str], access_log: bool) -> None:
    sock, name = daemon
    options = ["--statsd-host", name, "--statsd-prefix", "shop", "--dogstatsd-tags", "env:test"]
    if access_log:
        options += ["--access-logfile", "-", "--access-logformat", "%(m)s %(s)s"]
    server = serve("probe:app", *options, worker="uvicorn_worker.UvicornWorker")
    assert server.get("/").status_code == 200
    seen: list[str] = []
    while len(seen) < 3:
        metric = sock.recv(1000).decode()
        if "gunicorn.request" in metric:  # the others are the master's, of its workers and its log
            seen.append(re.sub(r":[\d.]+\|(ms|h)", ":N|time", metric))
    assert seen == [
        "shop.gunicorn.request.duration:N|time|#env:test",
        "shop.gunicorn.requests:1|c|@1.0|#env:test",
        "shop.gunicorn.request.status.200:1|c|@1.0|#env:test",
    ]
    if access_log:
        assert until(lambda: server.out, "an access line") == "GET 200\n"
    else:
        server.stop_gracefully()
        assert server.out == ""
