"""How a server comes up: what is loaded where, and that no client is taken before the app is ready."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def test_app_named_on_the_command_line(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker)
    assert server.get().text == "Hello, world!"
    assert [event.pid for event in server.events("import")] == server.workers()


def test_app_and_worker_named_in_the_configuration_file(serve: Serve, worker: str) -> None:
    server = serve(files={"gunicorn.conf.py": f"wsgi_app = 'probe:app'\nworker_class = '{worker}'\n"})
    assert server.get().text == "Hello, world!"
    assert f"Using worker: {worker}" in server.log


@pytest.mark.parametrize(("call", "argument"), [("probe:factory()", "default"), ("probe:factory('mine')", "mine")])
def test_app_from_a_factory(serve: Serve, worker: str, call: str, argument: str) -> None:
    server = serve(call, worker=worker)
    assert server.get().text == "Hello, world!"
    assert [event.detail for event in server.events("factory")] == [argument]


def test_an_import_that_asks_for_the_running_loop(serve: Serve, worker: str) -> None:
    """As one that opens a session of aiohttp, or begins a task: it is made again where the loop runs."""
    source = "import asyncio\nloop = asyncio.get_running_loop()\nfrom probe import app\n"
    server = serve("eager:app", worker=worker, files={"eager.py": source})
    assert server.get().text == "Hello, world!"
    assert "no running event loop" not in server.log


def test_preloaded_app_is_imported_once_and_the_master_stays_fork_safe(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--preload", "-c", "python:boot_hooks", worker=worker, workers=2)
    assert server.get().text == "Hello, world!"
    server.wait_started(2)
    assert [event.pid for event in server.events("import")] == [server.pid]
    assert sorted(event.pid for event in server.events("startup")) == server.workers()
    reports = [json.loads(event.detail) for event in [*server.events("when_ready"), *server.events("pre_fork")]]
    only_the_listener = {"threads": 1, "sockets": 1, "pollers": 0, "loops": 0}
    assert reports == [only_the_listener] * 3  # ready, and before each of the two forks


def test_early_client_is_answered_after_startup(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker, env={"PROBE_LIFESPAN": "gate"})
    with server.connect() as early:
        early.request("/")
        server.wait_events("waiting")
        assert not server.events("request")
        (server.dir / "open").touch()
        assert early.response().status == 200
    assert [event.name for event in server.events()] == ["import", "starting", "waiting", "startup", "request"]


def test_starting_worker_takes_no_connection_from_a_ready_one(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker, workers=2, env={"PROBE_LIFESPAN": "gate"})
    waiting = server.wait_events("waiting")[0].pid
    server.wait_started()
    connections = [server.connect() for _ in range(20)]
    try:
        for connection in connections:
            connection.request("/")
        answered_by = {int(connection.response().headers["x-pid"]) for connection in connections}
    finally:
        for connection in connections:
            connection.close()
    assert waiting not in answered_by
    (server.dir / "open").touch()
    server.wait_started(2)
    until(lambda: int(server.get().headers["x-pid"]) == waiting, "an answer of the worker that started late")


def test_several_addresses(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "-b", "unix:app.sock", "-b", "127.0.0.1:0", worker=worker)
    ports = server.wait_log(r"Listening at: http://127.0.0.1:(\d+),unix:app.sock,http://127.0.0.1:(\d+)").groups()
    assert len(set(ports)) == 2
    for port in ports:
        with server.client() as client:
            assert client.get(f"http://127.0.0.1:{port}/").text == "Hello, world!"


def test_app_without_lifespan_starts_without_noise(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker, env={"PROBE_LIFESPAN": "unsupported"})
    assert server.get().status_code == 200
    assert "Traceback" not in server.log
    assert "lifespan" not in server.log.lower()


def test_app_that_raises_in_startup_is_served_with_a_warning(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker, env={"PROBE_LIFESPAN": "raise"})
    assert server.get().status_code == 200
    assert server.log.count("Traceback") == 1
    assert server.log.count("RuntimeError: startup went wrong") == 1
    assert "[WARNING]" in server.log
    assert "[ERROR]" not in server.log


def test_default_worker_takes_uvloop_and_httptools(serve: Serve) -> None:
    pytest.importorskip("uvloop")
    pytest.importorskip("httptools")
    seen = serve("probe:app", worker=HTTPTOOLS).get("/report").json()
    assert (seen["loop"], "httptools" in seen["modules"]) == ("uvloop", True)


def test_h11_worker_runs_where_uvloop_and_httptools_are_missing(serve: Serve) -> None:
    broken = dict.fromkeys(("uvloop.py", "httptools.py"), "raise ImportError('not here')\n")
    server = serve("probe:app", worker=H11, files=broken)
    seen = server.get("/report").json()
    assert (seen["loop"], seen["modules"]) == ("asyncio", ["h11"])
    assert seen["asgi"] == {"version": "3.0", "spec_version": "2.3"}


def test_subclass_chooses_loop_and_parser(serve: Serve) -> None:
    seen = serve("probe:app", worker="custom_workers.AsyncioH11Worker").get("/report").json()
    assert (seen["loop"], seen["modules"]) == ("asyncio", ["h11"])


def test_subclass_turns_lifespan_off(serve: Serve) -> None:
    server = serve("probe:app", worker="custom_workers.LifespanOffWorker")
    assert server.get().status_code == 200
    assert not server.events("starting")
