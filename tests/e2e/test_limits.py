"""Limits of time and size, under real Gunicorn and with clients that reach them."""

from __future__ import annotations

import importlib.util
import select
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, PATIENCE, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS = {
    "UVICORN_LIMIT_REQUEST_BODY": "1000000",
    "UVICORN_TIMEOUT_REQUEST_HEAD": "1",
    "UVICORN_TIMEOUT_REQUEST_BODY": "1",
    "UVICORN_TIMEOUT_REQUEST": "3",
    "UVICORN_TIMEOUT_WRITE": "1",
}
HOST = b"Host: test\r\n"
MEBIBYTE = 1048576


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    logs = ("--access-logfile", "-", "--access-logformat", "%(s)s %(r)s")
    with Gunicorn("probe:app", "--keep-alive", "2", *logs, worker=worker, env=OPTIONS) as server:
        server.wait_started()
        yield server


def test_time(server: Gunicorn) -> None:
    """All that may take too long at once; the worker lives on."""
    pid = server.get().headers["x-pid"]
    raised = len(server.events("send-raised-oserror"))
    with (
        server.connect() as head,
        server.connect() as body,
        server.connect() as app,
        server.connect() as stream,
        server.connect() as idle,
    ):
        begun = time.monotonic()
        idle.get()
        head.send(b"GET /head HTTP/1.1\r\nHo")
        body.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n12345")
        app.request("/sleep?s=600")
        stream.request("/endless")
        for connection, status in ((head, 408), (body, 408), (app, 504)):
            response = connection.response()
            assert response.status == status
            assert response.closes is (status == 408)
            assert time.monotonic() - begun > 1
        # Its connection goes on.
        assert app.get().status == 200
        server.wait_events("send-raised-oserror", raised + 1)
        assert idle.rest() == b""
        assert time.monotonic() - begun >= 2
    assert server.get().headers["x-pid"] == pid
    assert "GET /sleep from 127.0.0.1:" in server.log
    assert "WORKER TIMEOUT" not in server.log
    lines = until(lambda: found if len(found := server.out.splitlines()) >= 7 else None, "the access lines")
    assert sorted(lines)[:2] == ["200 GET / HTTP/1.1"] * 2
    for line in ("408 GET /head HTTP/1.1", "408 POST /echo HTTP/1.1", "504 GET /sleep?s=600 HTTP/1.1"):
        assert lines.count(line) == 1


def test_size(server: Gunicorn) -> None:
    requests = len(server.events("request"))
    with server.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n")
        response = connection.response()
        assert (response.status, response.closes) == (413, True)
    assert len(server.events("request")) == requests
    # A client that sends all of it before it reads.
    with server.connect() as connection:
        connection.send(b"POST /large HTTP/1.1\r\n" + HOST + b"Content-Length: 8388608\r\n\r\n" + bytes(8 * MEBIBYTE))
        assert connection.response().status == 413
        assert connection.rest() == b""
    assert len(server.events("request")) == requests
    with server.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.send((b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n") * 8)
        assert connection.response().status == 413
        assert connection.rest() == b""
    assert server.get().status_code == 200
    until(lambda: server.out.count("413 POST /large HTTP/1.1") == 1, "the access line")


def test_a_connection_that_was_opened_ahead(serve: Callable[..., Gunicorn], worker: str) -> None:
    """It waits for its first byte for the longer of the two."""
    keep_alive = serve("probe:app", "--keep-alive", "2", worker=worker, env={"UVICORN_TIMEOUT_REQUEST_HEAD": "1"})
    head = serve("probe:app", "--keep-alive", "1", worker=worker, env={"UVICORN_TIMEOUT_REQUEST_HEAD": "2"})
    for server in (keep_alive, head):
        server.wait_started()
    with ExitStack() as stack:
        left, others = {}, []
        for server in (keep_alive, head):
            begun = time.monotonic()
            silent = stack.enter_context(server.connect())
            left[silent.socket] = begun, silent
            others.append(stack.enter_context(server.connect()))
        others[0].send(b"GET / HT")
        assert others[1].get("/").status == 200
        # Not which ends first: one who gets no time to look sees two ends at once.
        while left:
            ready, _, _ = select.select(list(left), [], [], PATIENCE)
            assert ready, f"{len(left)} connections have not ended"
            for sock in ready:
                begun, silent = left.pop(sock)
                assert time.monotonic() - begun >= 2
                assert silent.rest() == b""
        assert others[0].response().status == 408
        assert others[1].rest() == b""


def test_balancers_open_connections_ahead(serve: Callable[..., Gunicorn]) -> None:
    """With keepalive 100, as behind a balancer that keeps connections for a minute."""
    server = serve("probe:app", "--keep-alive", "100", worker=HTTPTOOLS, env={"UVICORN_TIMEOUT_REQUEST_HEAD": "0.5"})
    with server.connect() as ahead, server.connect() as slow, server.connect() as slower:
        for connection in (slow, slower):
            # One after the other, so that more than one time limit passes.
            connection.send(b"GET / HT")
            assert connection.response().status == 408
        assert ahead.get("/").status == 200


@pytest.mark.parametrize("worker", [HTTPTOOLS, H11])
def test_what_gunicorn_permits(worker: str) -> None:
    """None of its settings stops the start, whatever reads the requests."""
    settings = ("--permit-unconventional-http-method", "--casefold-http-method", "--strip-header-spaces")
    with Gunicorn("probe:app", *settings, worker=worker) as server, server.connect() as connection:
        for method in ("x", "get"):
            connection.request(method=method)
            assert connection.response().status == 200
        connection.send(b"POST / HTTP/1.1\r\nHost : a\r\nContent-Length : 3\r\n\r\nabc")
        assert connection.response().status == 200
        if worker == HTTPTOOLS and importlib.util.find_spec("httptools"):
            assert "option strip_header_spaces = True: requests are read with h11, as httptools can't" in server.log


@pytest.mark.parametrize("worker", [HTTPTOOLS, H11])
def test_methods_that_nobody_has_registered_are_the_applications(worker: str) -> None:
    with Gunicorn("probe:app", worker=worker) as server, server.connect() as connection:
        for method in ("LIST", "VERSION-CONTROL", "PLAY", "GET"):
            connection.request(method=method)
            assert connection.response().status == 200
