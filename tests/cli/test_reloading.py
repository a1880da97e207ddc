"""`--reload` as a whole: a process that watches, and those that serve one after the other."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import logging
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.busy import busy
from tests.records import records_of
from uvicorn_worker.cli import reloading, watching
from uvicorn_worker.cli.reloading import Reloader, listed
from uvicorn_worker.server import Config

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux alone")

# Of threads of those that run the tests.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PATIENCE = 30.0

APP = """
import os
async def app(scope, receive, send):
    if scope["path"] == "/end":
        os._exit(int(scope["query_string"]))
    body = f"version 1 {os.getpid()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


def set_up(config: Config) -> None:
    """The logging of a new interpreter."""
    log = logging.getLogger("uvicorn.error")
    log.handlers, log.propagate = [logging.StreamHandler(sys.stderr)], False
    log.setLevel(logging.INFO)


class Watching:
    """A process that runs a `Reloader`, in a folder with an application."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.output.touch()
        (folder / "reloaded_app.py").write_text(APP)
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(options,))
        self.process.start()

    def _run(self, options: dict[str, Any]) -> None:
        fd = os.open(self.output, os.O_WRONLY | os.O_APPEND)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        # As without tests around: no module of the folder is there.
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        config = Config("reloaded_app:app", port=0, reload=True, loop="asyncio", lifespan="off", **options)
        set_up(config)
        watching.LOOK_SECONDS = watching._TURN_SECONDS = 0.05
        reloading._KILL_SECONDS = 5.0
        sys.exit(Reloader(config, set_up).run())

    @property
    def log(self) -> str:
        return self.output.read_text()

    def wait(self, pattern: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(re.findall(pattern, self.log)) < times:
            assert self.process.is_alive(), self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def get(self, path: str = "/") -> str:
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log)
        assert found, self.log
        client = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
        with contextlib.closing(client):
            client.request("GET", path)
            return client.getresponse().read().decode()

    def end(self, code: int) -> None:
        """The process that serves ends by itself, with that code."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.get(f"/end?{code}")

    def save(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)

    def stop(self, sig: int = signal.SIGINT) -> int | None:
        assert self.process.pid is not None
        os.kill(self.process.pid, sig)
        self.process.join(PATIENCE)
        return self.process.exitcode

    def close(self) -> None:
        if self.process.is_alive():
            # Its child ends by the end of the pipe.
            self.process.kill()
        self.process.join()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    made: list[Watching] = []

    def start(**options: Any) -> Watching:
        made.append(Watching(tmp_path, **options))
        made[-1].wait("Ready in")
        return made[-1]

    yield start
    for each in made:
        each.close()


Start = Callable[..., Watching]


@linux
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_change_is_served_and_a_signal_ends_both(start: Start, sig: int) -> None:
    watching = start()
    first = watching.get()
    watching.save("reloaded_app.py", APP.replace("version 1", "version 2"))
    watching.wait("Ready in", 2)
    second = watching.get()
    assert first.startswith("version 1")
    assert second.startswith("version 2")
    assert first.split()[-1] != second.split()[-1]
    assert "detected changes in 'reloaded_app.py'. Reloading..." in watching.log
    assert watching.stop(sig) == 0
    assert watching.log.count("Finished server process") == 2
    assert "Stopping reloader process" in watching.log
    assert "Traceback" not in watching.log


@linux
def test_one_that_ends_by_its_limit_is_replaced(start: Start) -> None:
    watching = start(limit_max_requests=1)
    before = watching.get()
    watching.wait("Ready in", 2)
    assert watching.get() != before
    assert watching.stop() == 0
    assert "has ended with code" not in watching.log


@linux
def test_one_that_ends_is_replaced_while_a_log_is_written_beside_it(start: Start) -> None:
    watching = start(limit_max_requests=1)
    with busy(watching.folder / "app.log") as writes:
        before = watching.get()
        watching.wait("Ready in", 2)
        assert watching.get() != before
        assert writes.is_alive()
    assert watching.stop() == 0


@linux
def test_one_that_fails_is_told_once_and_mended_by_a_change(start: Start) -> None:
    watching = start()
    watching.end(7)
    watching.wait("The server process has ended with code 7; waiting for a change.")
    watching.save("reloaded_app.py", APP.replace("version 1", "version 2"))
    watching.wait("Ready in", 2)
    assert watching.get().startswith("version 2")
    assert watching.stop() == 0
    assert watching.log.count("has ended with code") == 1


@linux
def test_a_change_while_one_loads_replaces_it(start: Start) -> None:
    watching = start()
    watching.save("reloaded_app.py", "import os, time\nopen('loads', 'w').close()\ntime.sleep(60)\n")
    while not (watching.folder / "loads").exists():
        time.sleep(0.01)
    watching.save("reloaded_app.py", APP.replace("version 1", "version 3"))
    watching.wait("Ready in", 2)
    assert watching.get().startswith("version 3")
    assert watching.stop() == 0


@linux
def test_whoever_can_not_wait_says_it_twice(start: Start) -> None:
    """A stop that waits for a request is at once at the second Ctrl+C."""
    watching = start()
    slow = APP.replace("    body =", "    print('asked', flush=True)\n    await asyncio.sleep(60)\n    body =")
    watching.save("reloaded_app.py", "import asyncio\n" + slow)
    watching.wait("Ready in", 2)
    found = re.search(r"running on http://127\.0\.0\.1:(\d+)", watching.log)
    assert found
    client = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
    with contextlib.closing(client):
        client.request("GET", "/")
        watching.wait("asked")
        assert watching.process.pid is not None
        os.kill(watching.process.pid, signal.SIGINT)
        watching.wait("Draining: 1 request")
        assert watching.stop() == 0
    assert "Stopping reloader process" in watching.log


@pytest.mark.parametrize(
    ("value", "found"), [(None, []), ("a", ["a"]), (Path("a"), ["a"]), (["a", Path("b")], ["a", "b"])]
)
def test_what_may_be_one_or_several(value: Any, found: list[str]) -> None:
    assert listed(value) == found


def test_a_new_interpreter_where_the_application_is_in_this_one_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process has imported of the watched folders would go on living in one that is forked."""
    config = Config("app:app", reload_dirs=[str(tmp_path)])
    if sys.platform.startswith("linux"):
        assert not Reloader(config, set_up)._anew
    module = type(sys)("imported_before")
    module.__file__ = str(tmp_path / "sub" / "imported_before.py")
    monkeypatch.setitem(sys.modules, "imported_before", module)
    assert Reloader(config, set_up)._anew
    monkeypatch.delitem(sys.modules, "imported_before")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Reloader(config, set_up)._anew


def test_paths_are_shown_as_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the folder that one is in by the rest alone."""
    monkeypatch.chdir(tmp_path)
    shown: list[str] = []
    reloader = Reloader(Config("app:app"), set_up)
    elsewhere = tmp_path.parent / "elsewhere.py"

    class Watcher:
        name = "Looking"

        def __init__(self, *given: Any) -> None: ...

        def __iter__(self) -> Iterator[set[Path]]:
            yield {tmp_path / "sub" / "a.py"}
            yield {elsewhere}

    class Process:
        exitcode = None

        def has_ended(self) -> bool:
            return True

        def signal(self, sig: int) -> None: ...

    monkeypatch.setattr(reloading, "Watcher", Watcher)
    monkeypatch.setattr(reloader, "_start", lambda is_first: Process())
    monkeypatch.setattr(reloader, "_replace", shown.append)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    with records_of("uvicorn.error") as records:
        reloader._watch()
    told = [line for line in records.lines if "detected" in line]
    assert told == [f"Looking detected changes in {where}. Reloading..." for where in ("'sub/a.py'", f"'{elsewhere}'")]


class _Beginning:
    """A process, and its pipe, that says that it serves from the look `serves_at` on."""

    pid = exitcode = None

    def __init__(self, serves_at: int) -> None:
        self.serves_at = serves_at
        self.looks = 0
        self.did: list[str] = []

    def poll(self) -> bool:
        self.looks += 1
        return self.looks > self.serves_at

    def join(self, seconds: float | None = None) -> None:
        self.did.append("join")

    def kill(self) -> None:
        self.did.append("kill")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("serves_at", "did"),
    [(0, []), (1, ["join"]), (2, ["join", "join", "kill", "join"])],
    ids=["serves", "begins", "boots"],
)
def test_one_that_begins_to_serve_as_it_is_told_is_not_killed_for_that(
    monkeypatch: pytest.MonkeyPatch, serves_at: int, did: list[str]
) -> None:
    """What clients have asked of it by then is answered."""
    monkeypatch.setattr(os, "kill", lambda pid, sig: None)
    process: Any = object.__new__(reloading._Process)
    process._process = process._pipe = beginning = _Beginning(serves_at)
    process._slot = None
    process.leave()
    assert beginning.did == did


def test_what_python_has_made_of_a_changed_file_is_taken_away(tmp_path: Path) -> None:
    """It is known by second and size of its source, and the next edit may be of the same."""
    path = tmp_path / "a.py"
    compiled = Path(importlib.util.cache_from_source(str(path)))
    compiled.parent.mkdir()
    compiled.touch()
    reloading.forget_compiled(path)
    assert not compiled.exists()
    reloading.forget_compiled(path)
    reloading.forget_compiled(tmp_path / ".env")
