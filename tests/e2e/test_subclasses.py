"""Subclasses of uvicorn's worker, unchanged: what they read, set, override and make of their own."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

# Says what it was given: the root path, the client, whether there was a lifespan.
APP = """
import os
from eventlog import event

seen = []

async def app(scope, receive, send):
    seen.append(scope["type"])
    if scope["type"] == "lifespan":
        await receive()
        event("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        event("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    text = f"{scope['root_path']} {scope['client'][0]} {seen[0]} {scope['scheme']}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text.encode()})
"""

FAILS_TWICE = """
import os
from eventlog import event

async def app(scope, receive, send):
    await receive()
    for name in ("first", "second"):
        if not os.path.exists(name):
            open(name, "w").close()
            await send({"type": "lifespan.startup.failed", "message": "not there yet"})
            return
    event("serves")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"""

# Sets a handler of its own that ends the process, at import or in post_worker_init.
OWN_HANDLER = """
import signal
import sys
from eventlog import event

def own(sig, frame):
    event("own-handler", sig)
    sys.exit(0)
"""


def started(
    serve: Serve, name: str, *options: str, app: str = "probe:app", workers: int = 1, **more: object
) -> Gunicorn:
    return serve(app, *options, worker=f"subclasses.{name}", workers=workers, **more)


def drains(server: Gunicorn, sig: signal.Signals = signal.SIGTERM) -> None:
    """A request that runs when the signal comes is answered, and the worker ends well."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get, "/sleep?s=0.7")
        server.wait_events("sleeping")
        server.signal(sig)
        assert answer.result().text == "slept"
    assert server.wait_exit() == 0
    assert server.events("shutdown")
    assert "SIGKILL" not in server.log


class TestConfig:
    def test_it_is_there_from_the_beginning(self, serve: Serve) -> None:
        server = started(serve, "Reads", "--max-requests", "7", "--keep-alive", "3")
        assert server.wait_events("config")[0].detail == "None auto 7 3"
        assert server.get().status_code == 200

    @pytest.mark.parametrize(
        "name",
        [
            "AssignsInInit",
            "AssignsInInitProcess",
            "Replaces",
            "ReplacesByUvicorns",
            "WrapsInLoad",
            "WrapsInUvicornsLoad",
            "LeavesOurInitOut",
        ],
    )
    def test_what_is_assigned_counts(self, serve: Serve, name: str) -> None:
        server = started(serve, name, app="own:app", files={"own.py": APP})
        until(lambda: "Uvicorn" in server.log or server.workers(), "a worker")
        with server.client() as client:
            root, peer, first, _ = client.get("/", headers={"x-forwarded-for": "192.0.2.9"}).text.split()
        assert root == "/assigned"
        assert first == ("lifespan" if name == "LeavesOurInitOut" else "http")
        # Gunicorn's own default trusts the loopback.
        assert peer == "192.0.2.9"
        assert server.stop_gracefully() == 0

    @pytest.mark.parametrize("name", ["AssignsTls", "LoadsAndAssignsTls"])
    def test_certificates_are_assigned(self, serve: Serve, certificate: Path, name: str) -> None:
        env = {"CERTIFICATE": str(certificate)}
        server = started(serve, name, app="own:app", files={"own.py": APP}, env=env)
        answer = httpx.get(f"https://127.0.0.1:{server.port}/", verify=False, timeout=PATIENCE, trust_env=False)  # noqa: S501
        assert answer.text.split()[-1] == "https"

    @pytest.mark.parametrize("transient", [True, False])
    def test_a_failed_start_is_an_exit_of_which_it_may_make_another(self, serve: Serve, transient: bool) -> None:
        """uvicorn's worker exits with 3; with 1 the master tries again."""
        env = {"TRANSIENT": "1"} if transient else {}
        server = started(serve, "StartsAgain", app="own:app", files={"own.py": FAILS_TWICE}, env=env)
        if transient:
            assert until(lambda: server.events("serves"), "the third")
            assert [event.detail for event in server.events("gave-up")] == ["3", "3"]
            assert server.stop_gracefully() == 0
        else:
            assert server.wait_exit() == 3
        assert server.log.count("the lifespan startup of the application failed: not there yet") == (
            2 if transient else 1
        )

    def test_a_value_that_can_not_be_used_ends_the_start_in_one_line(self, serve: Serve) -> None:
        server = started(serve, "AssignsNonsense", workers=2)
        assert server.wait_exit() == 3
        assert len(re.findall("option lifespan = 'maybe'", server.log)) == 1
        assert "Traceback" not in server.log
        assert server.log.count("Booting worker") <= 2


class TestServe:
    @pytest.mark.parametrize(
        "name",
        [
            "HandlesTerm", "OwnServer", "RealSockets", "OwnRun", "OtherThread", "DefaultSignals", "OwnSigquitHandler",
            "OwnLoading",
        ],
    )  # fmt: skip
    def test_it_serves_and_drains(self, serve: Serve, name: str) -> None:
        server = started(serve, name, "--graceful-timeout", "8")
        assert server.get().text == "Hello, world!"
        drains(server)

    def test_its_own_server_has_the_access_log_and_the_hooks(self, serve: Serve) -> None:
        hooks = "from eventlog import event\ndef pre_request(worker, req):\n    event('pre_request', req.path)\n"
        server = started(serve, "OwnServer", "--access-logfile", "-", files={"gunicorn.conf.py": hooks})
        server.get("/some")
        until(lambda: "GET /some HTTP/1.1" in server.out, "the access line")
        assert server.events("pre_request")[0].detail == "/some"
        assert server.stop_gracefully() == 0
        assert server.events("served")[0].detail == "True"

    @pytest.mark.parametrize("name", ["UvicornsServer", "UvicornsServerByName", "UvicornsServerHidden", "UvicornsKind"])
    def test_ours_takes_the_place_of_uvicorns(self, serve: Serve, name: str) -> None:
        server = started(serve, name, "--access-logfile", "-")
        assert server.get("/some").status_code == 200
        until(lambda: "GET /some HTTP/1.1" in server.out, "the access line")
        drains(server)
        if name == "UvicornsKind":
            assert [each.detail for each in server.events("step")] == ["startup", "handle_exit", "shutdown"]

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("Raises", "the override went wrong"),
            ("RaisesWhileServing", "the override went wrong"),
            ("Exits", "has exited with 1"),
            ("Returns", "has come to its end without having served"),
            ("OwnRunRaises", "the override went wrong"),
        ],
    )
    def test_there_is_no_loop_of_restarts(self, serve: Serve, name: str, says: str) -> None:
        server = started(serve, name, workers=2)
        assert server.wait_exit() == 3
        assert says in server.log
        # A worker that has served and fails is replaced until the one that reports it has ended the master.
        spare = 4 if name == "RaisesWhileServing" else 0
        assert server.log.count("Traceback") <= 1 + spare
        assert server.log.count("Booting worker") <= 2 + spare
        assert server.leftovers() == []


class TestMethods:
    def test_they_are_called(self, serve: Serve) -> None:
        server = started(serve, "Records")
        server.wait_events("callback_notify")
        assert server.get().status_code == 200
        names = [each.name for each in server.events()]
        order = ["init_process", "init_signals", "load_wsgi", "wsgi", "run", "_install_sigquit_handler", "startup"]
        assert [name for name in names if name in order] == order
        assert "notify" in names
        assert server.stop_gracefully() == 0

    def test_quit(self, serve: Serve) -> None:
        server = started(serve, "Records")
        server.wait_started()
        server.get()
        (worker,) = server.workers()
        server.signal(signal.SIGQUIT, worker)
        assert server.wait_events("handle_exit")[0].detail == str(int(signal.SIGQUIT))
        assert server.wait_events("handle_quit")[0].detail == str(int(signal.SIGQUIT))
        server.wait_events("shutdown")

    def test_a_handler_for_quit_of_its_own(self, serve: Serve) -> None:
        server = started(serve, "OwnSigquitHandler")
        server.get()
        (worker,) = server.workers()
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(server.get, "/sleep?s=0.7")
            server.wait_events("sleeping")
            server.signal(signal.SIGQUIT, worker)
            assert answer.result().text == "slept"
        until(lambda: worker not in server.workers(), "the end of the worker")

    def test_a_heartbeat_that_is_withheld(self, serve: Serve) -> None:
        server = started(serve, "WithholdsTheHeartbeat", "--timeout", "2")
        server.get()
        server.wait_events("callback_notify", 2)
        server.wait_log("WORKER TIMEOUT")

    def test_alive_is_the_word_for_a_stop(self, serve: Serve) -> None:
        hooks = "def pre_request(worker, req):\n    if req.path == '/stop':\n        worker.alive = False\n"
        server = serve("probe:app", worker="uvicorn_worker.UvicornWorker", files={"gunicorn.conf.py": hooks})
        server.get()
        (worker,) = server.workers()
        assert server.get("/stop").status_code == 200
        shutdown = server.wait_events("shutdown")[0]
        assert shutdown.pid == worker
        server.wait_started(2)


class TestSignalHandlers:
    @pytest.mark.parametrize("place", ["import", "post_worker_init"])
    def test_one_of_the_application_is_called_after_the_drain(self, serve: Serve, place: str) -> None:
        files = {"handler.py": OWN_HANDLER}
        if place == "import":
            files["own.py"] = "import signal\nimport handler\nfrom probe import app\nsignal.signal(15, handler.own)\n"
        else:
            files["own.py"] = "from probe import app\n"
            files["gunicorn.conf.py"] = (
                "import signal\nimport handler\ndef post_worker_init(worker):\n    signal.signal(15, handler.own)\n"
            )
        server = serve("own:app", worker="uvicorn_worker.UvicornWorker", files=files)
        server.get()
        drains(server)
        shutdown, own = server.events("shutdown")[0], server.events("own-handler")[0]
        assert own.detail == "15"
        assert own.time > shutdown.time

    @pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT])
    def test_a_quick_stop_runs_the_lifespan_shutdown(self, serve: Serve, worker: str, sig: signal.Signals) -> None:
        server = serve("starlette_app:app", worker=worker)
        server.wait_started()
        server.get()
        server.signal(sig)
        assert server.wait_exit() == 0
        assert server.events("shutdown")
        assert "failed" not in server.log

    def test_a_quick_stop_is_bounded(self, serve: Serve, worker: str) -> None:
        app = (
            "import asyncio\nfrom eventlog import event\nasync def app(scope, receive, send):\n"
            "    await receive()\n    await send({'type': 'lifespan.startup.complete'})\n    event('startup')\n"
            "    await receive()\n    event('shutdown')\n    await asyncio.sleep(60)\n"
        )
        server = serve("slow:app", worker=worker, files={"slow.py": app})
        server.wait_started()
        until(lambda: "Application startup complete" in server.log, "the start")
        server.signal(signal.SIGINT)
        # Sooner than the master would kill it: graceful_timeout is 30 seconds, and the shutdown takes 60.
        assert server.wait_exit() == 0
        assert "SIGKILL" not in server.log
        assert server.events("shutdown")

    def test_an_abort_is_no_failure_of_the_lifespan(self, serve: Serve, worker: str) -> None:
        server = serve("starlette_app:app", worker=worker)
        server.wait_started()
        server.get()
        (pid,) = server.workers()
        server.signal(signal.SIGABRT, pid)
        until(lambda: pid not in server.workers(), "the end of the worker")
        server.wait_started(2)
        assert "shutdown failed" not in server.log
        assert "shutdown of the application failed" not in server.log


def test_the_old_module_has_the_classes(serve: Serve) -> None:
    server = serve("probe:app", worker="uvicorn_worker._workers.UvicornWorker")
    assert server.get().status_code == 200
