"""No request is lost while workers are replaced: HUP, max_requests and TERM, under load."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.http2.conftest import APPS, H2C
from tests.e2e.http2.steady import Steady
from tests.programs import need

Serve = Callable[..., Gunicorn]


def start(serve: Serve, *options: str, workers: int = 2, env: dict[str, str] | None = None) -> Gunicorn:
    # A busy connection is left after half of the time.
    options = ("--graceful-timeout", "4", *options)
    server = serve("h2_probe:app", "--pythonpath", APPS, *options, worker=H2C, workers=workers, env=env)
    server.wait_started(workers)
    return server


async def ask_until(steady: Steady, condition: Callable[[], object]) -> None:
    """Keep asking until something has happened, and a moment longer."""
    task = asyncio.ensure_future(steady.run())
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition() and not task.done():
        assert asyncio.get_running_loop().time() < deadline, (steady.answered, steady.lost)
        await asyncio.sleep(0.02)
    steady.stopping = True
    await asyncio.wait_for(task, PATIENCE)


@pytest.mark.parametrize("path", [b"/", b"/slow"])
def test_reload(serve: Serve, engine: dict[str, str], path: bytes) -> None:
    server = start(serve, env=engine)
    steady = Steady(server.port, path)
    old = server.workers()

    def reloaded() -> bool:
        if steady.answered.total() > 100 and not told:
            told.append(1)
            server.signal(signal.SIGHUP)
        return bool(told) and not set(old) & set(server.workers()) and len(steady.answered) >= 2

    told: list[int] = []
    asyncio.run(ask_until(steady, reloaded))
    assert steady.lost == []
    assert not re.search(r"\[ERROR\] (?!Worker \(pid:\d+\) was sent SIGTERM!)", server.log)


def test_recycle(serve: Serve, engine: dict[str, str]) -> None:
    # A client that is short of the processor needs its half of the time to read that it is left.
    server = start(serve, "--max-requests", "300", "--graceful-timeout", "8", env=engine)
    steady = Steady(server.port, b"/slow", connections=6)
    asyncio.run(ask_until(steady, lambda: len(steady.answered) >= 5))
    assert steady.lost == []
    assert steady.answered.total() > 600


def test_a_stop_answers_what_it_has_taken(serve: Serve, engine: dict[str, str]) -> None:
    server = start(serve, workers=1, env=engine)

    async def story() -> Steady:
        steady = Steady(server.port, b"/slow")
        task = asyncio.ensure_future(steady.run())
        while steady.answered.total() < 50:
            await asyncio.sleep(0.02)
        steady.stopping = True
        server.signal(signal.SIGTERM)
        await asyncio.wait_for(task, PATIENCE)
        return steady

    steady = asyncio.run(story())
    assert steady.lost == []
    assert server.wait_exit() == 0


@pytest.mark.long
def test_h2load_during_a_reload(serve: Serve) -> None:
    """h2load makes no new connection after GOAWAY: what it could not send any more are its errors.

    Each request that has reached a worker was answered, which its access log shows.
    """
    server = start(serve, "--access-logfile", "access.log")
    command = [need("h2load"), "-n", "200000", "-c", "4", "-m", "8", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as load:
        until(lambda: server.read("access.log").count("\n") > 500, "some requests")
        server.signal(signal.SIGHUP)
        said, _ = load.communicate(timeout=PATIENCE)
    found = re.search(r"(\d+) started, (\d+) done, (\d+) succeeded", said)
    assert found, said
    started, _, succeeded = map(int, found.groups())
    # Four connections, eight requests at a time: what was under way to a worker that had said GOAWAY.
    assert started - succeeded <= 4 * 8
    answered = until(lambda: server.read("access.log").count('" 200 13 ') == succeeded, "the access lines")
    assert answered


def test_grpc_during_a_reload(serve: Serve) -> None:
    """A client of the real world does by itself what the steady one does."""
    grpc = pytest.importorskip("grpc")
    server = start(serve)
    old = server.workers()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        unary = channel.unary_unary("/echo.Echo/Unary")
        calls = 0
        reloading = False
        while calls < 2000 or set(old) & set(server.workers()):
            futures = [unary.future(b"%d" % number, timeout=PATIENCE) for number in range(20)]
            assert [future.result() for future in futures] == [b"%d" % number for number in range(20)]
            calls += 20
            if calls >= 200 and not reloading:
                reloading = True
                server.signal(signal.SIGHUP)
