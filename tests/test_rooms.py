"""The tests of a room need none of the rooms above it, nor beside it; what they import while they run is seen by
`make coverage-rooms`, which runs them the same way."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import uvicorn_worker
from tests.rooms import LEVELS, PARALLELS, above

PACKAGE = Path(uvicorn_worker.__file__).parent
HOME = PACKAGE.parent
# What a master does is seen from outside of its process, in tests/e2e.
FOLDERS = sorted(room for rooms in LEVELS for room in rooms - {"master"} if (PACKAGE / room).is_dir())

# Rooms whose tests are not so yet.
KNOWN: set[str] = set()


def run_pytest(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.rooms", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    # What these runs cover is not looked at.
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_every_room_is_measured_by_its_own_tests() -> None:
    gate = HOME / ".ci" / "coverage_rooms.py"
    if not gate.exists():
        pytest.skip("these tests run beside an installed package")
    assert sorted(runpy.run_path(str(gate))["ROOMS"]) == sorted([*FOLDERS, "master", "names"])


def test_every_room_has_tests() -> None:
    assert [room for room in FOLDERS if not (HOME / "tests" / room).is_dir()] == []


@pytest.mark.parametrize("room", sorted(set(FOLDERS) - KNOWN))
def test_its_tests_can_be_loaded_alone(room: str) -> None:
    finished = run_pytest(HOME, "--collect-only", f"tests/{room}")
    assert finished.returncode == 0, finished.stdout[-2000:]


@pytest.mark.parametrize(("room", "found"), [("core", True), ("proxies", True), ("http2", False), ("server", False)])
def test_what_is_above_is_not_found(tmp_path: Path, room: str, found: bool) -> None:
    test = tmp_path / "tests" / "http1" / "test_it.py"
    test.parent.mkdir(parents=True)
    test.write_text(f"def test_it():\n    import uvicorn_worker.{room}\n")
    finished = run_pytest(tmp_path, "--rootdir", ".", "tests/http1")
    assert (finished.returncode == 0) is found, finished.stdout
    assert ("stands above" in finished.stdout) is not found


def test_above() -> None:
    assert above("core") >= {"proxies", "http1", "server", "worker"}
    assert above("http1") == {
        "__main__",
        "_workers",
        "cli",
        "master",
        "worker",
        "server",
        "switching",
        "http2",
        "websocket",
        "interfaces",
        *PARALLELS,
    }
