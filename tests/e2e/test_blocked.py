"""A request that blocks its worker is answered before the worker is aborted, and does not cost another one."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.e2e.frontends import nginx
from tests.e2e.harness import H11, HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection
from tests.programs import need

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

NGINX = """
upstream app {{
    server 127.0.0.1:{port} fail_timeout=0;
    keepalive 64;
}}
server {{
    listen unix:{dir}/front.sock;
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
"""
OPTIONS = ("--timeout", "1", "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s")


def answer(server: Gunicorn, target: str) -> tuple[int, bool]:
    with server.connect() as connection:
        response = connection.get(target)
        assert response.body == b"Service Unavailable"
        return response.status, response.closes


@pytest.mark.parametrize(("worker", "target"), [(HTTPTOOLS, "/block"), (H11, "/c"), (HTTPTOOLS, "/inner")])
def test_it_is_answered_and_logged(serve: Serve, worker: str, target: str) -> None:
    server = serve("blocking_app:app", *OPTIONS, worker=worker)
    (old,) = until(server.workers, "a worker")
    assert answer(server, target) == (503, True)
    until(lambda: f"GET {target} 503" in server.out, "the access line")
    until(lambda: old not in server.workers(), "its end")
    assert server.get().status_code == 200
    assert server.out.count(f"GET {target} ") == 1


def test_a_proxy_does_not_ask_one_worker_after_the_other(serve: Serve) -> None:
    need("nginx")
    server = serve("blocking_app:app", *OPTIONS, worker=HTTPTOOLS, workers=4)
    until(lambda: len(server.workers()) == 4, "four workers")
    with nginx(server.dir, NGINX, port=server.port):
        front = str(server.dir / "front.sock")

        def ask(target: str) -> tuple[int, str]:
            with Connection(front, PATIENCE) as connection:
                response = connection.get(target)
                return response.status, response.headers.get("x-pid", "")

        # More at the same time in each round, so that nginx opens connections to several workers, and keeps them.
        rounds = iter(range(8, 60, 8))

        def several() -> bool:
            count = next(rounds)
            with ThreadPoolExecutor(count) as pool:
                return len({pid for _, pid in pool.map(ask, ["/wait"] * count)}) > 1

        until(several, "connections to several workers")
        before = set(server.workers())
        assert ask("/block")[0] == 503
        until(lambda: len(before - set(server.workers())) == 1, "the end of the one that was blocked")
        assert ask("/")[0] == 200
    assert [event.detail for event in server.events("blocks")] == ["/block"]
    assert len(before & set(server.workers())) == 3


def test_a_path_that_does_so_again_is_refused(serve: Serve) -> None:
    server = serve(
        "blocking_app:app", *OPTIONS, worker=HTTPTOOLS, workers=2, env={"UVICORN_BLOCK_REPEAT_OFFENDERS": "600"}
    )
    until(lambda: len(server.workers()) == 2, "two workers")
    for _ in range(2):
        assert answer(server, "/block") == (503, True)
    until(lambda: server.log.count("Fatal Python error") == 2, "the end of both")
    # All workers know of it, those that have come since included.
    for _ in range(4):
        assert answer(server, "/block") == (503, False)
        assert server.get("/").status_code == 200
    assert len(server.events("blocks")) == 2
    assert "/block is refused" in server.log


@pytest.mark.parametrize("target", ["/block", "/c"])
def test_who_was_answered_in_the_same_turn_of_the_loop_has_the_answer(serve: Serve, target: str) -> None:
    server = serve("blocking_app:app", *OPTIONS, worker=HTTPTOOLS)
    (worker,) = until(server.workers, "a worker")
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(10)]

        def ask_together(*targets: str) -> None:
            # What they have sent meanwhile is read in one turn.
            os.kill(worker, signal.SIGSTOP)
            for client, each in zip(clients, targets, strict=True):
                client.request(each)
            os.kill(worker, signal.SIGCONT)

        for _ in range(8):
            ask_together(*["/"] * 10)
            assert [client.response().status for client in clients] == [200] * 10
        ask_together(*["/"] * 9, target)
        assert [client.response().status for client in clients] == [200] * 9 + [503]
