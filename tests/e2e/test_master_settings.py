"""What is the master's own business goes on as with any worker: its settings and hooks, all set at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from gunicorn.config import KNOWN_SETTINGS

from tests.e2e.harness import PATIENCE, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def _booted(server: Gunicorn) -> list[bool]:
    """What `gunicornc` has of each worker; nothing while the master opens its socket anew, as at each fork."""
    command = [sys.executable, "-m", "gunicorn.ctl.cli", "-s", "ctl.sock", "-c", "show workers", "--json"]
    asked = subprocess.run(command, cwd=server.dir, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [each["booted"] for each in json.loads(asked.stdout)["workers"]] if asked.returncode == 0 else []


def test_the_masters_settings_and_hooks_work_as_ever(serve: Serve, worker: str) -> None:
    known = {setting.name for setting in KNOWN_SETTINGS}
    argv = ["-c", "python:master_settings", "-k", worker, "-b", "127.0.0.1:0", "probe:app"]
    server = serve(argv=argv)
    server.wait_started(2)
    assert server.get().text == "Hello, world!"
    assert int(server.read("master.pid")) == server.pid
    assert len(server.events("post_worker_init")) == 2
    if "dirty_apps" in known:
        server.wait_events("dirty_worker_init")
    if "control_socket" in known:
        until((server.dir / "ctl.sock").exists, "the control socket")
        until(lambda: _booted(server) == [True, True], "both workers as booted in what the control socket tells")

    server.signal(signal.SIGTTIN)
    server.wait_started(3)
    server.signal(signal.SIGHUP)
    server.wait_events("on_reload")
    server.wait_events("worker_exit", 3)
    until(lambda: len(server.events("startup")) >= 5, "the workers of the reload")
    assert server.get().text == "Hello, world!"

    assert server.stop_gracefully() == 0
    seen = {event.name for event in server.events()}
    expected = {"on_starting", "when_ready", "pre_fork", "post_fork", "nworkers_changed", "child_exit", "on_exit"}
    assert expected <= seen
    assert server.events("startup")
    assert len(server.events("worker_exit")) == len(server.events("shutdown")) == len(server.events("startup"))
    # Gunicorn 27's dirty arbiter has one where its worker ends while it closes its own event loop.
    assert "Traceback" not in server.log.partition("Exception in dirty arbiter process")[0]
    assert not (server.dir / "master.pid").exists()
