"""How often a process that only serves looks for garbage, and that it does not at its end."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uvicorn_worker.core.garbage import leave_without_a_search, search_as_newer_pythons

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="it has another collector")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_the_old_default_becomes_the_new_one() -> None:
    gc.set_threshold(700, 10, 10)
    search_as_newer_pythons()
    assert gc.get_threshold() == (2000, 10, 10)


@pytest.mark.parametrize("said", [(500, 10, 10), (700, 20, 10), (0, 10, 10), (50_000, 5, 5)])
def test_what_somebody_has_said_stays(said: tuple[int, int, int]) -> None:
    gc.set_threshold(*said)
    before = gc.get_threshold()
    search_as_newer_pythons()
    assert gc.get_threshold() == before


def test_where_there_are_no_such_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy's collector has others."""
    monkeypatch.delattr(gc, "get_threshold")
    search_as_newer_pythons()


END = """
import atexit, sys
from uvicorn_worker.core.garbage import leave_without_a_search
atexit.register(lambda: print("registered before"))
leave_without_a_search(lambda: sys.argv[2] == "asked")
class Held:
    def __init__(self, name):
        self.files = open(name, "w"), open(name + ".bytes", "wb"), open(name + ".closed", "w")
        self.files[0].write("text")
        self.files[1].write(b"bytes")
        self.files[2].close()
        self.circle = self
    def __del__(self):
        print("looked for")
Held(sys.argv[1])
atexit.register(lambda: print("registered behind"))
"""


@pytest.mark.parametrize("asked", [True, False])
def test_the_end_of_a_process(tmp_path: Path, asked: bool) -> None:
    """What was registered runs, and files have all that was written to them."""
    command = [sys.executable, "-c", END, str(tmp_path / "a"), "asked" if asked else "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    searched = [] if asked else ["looked for"]
    assert done.stdout.splitlines() == ["registered behind", "registered before", *searched]
    assert done.stderr == ""
    if asked:
        # Python's own search may find the file before what has the text for it.
        assert ((tmp_path / "a").read_text(), (tmp_path / "a.bytes").read_bytes()) == ("text", b"bytes")


def test_what_nanobind_has_made_is_looked_for(tmp_path: Path) -> None:
    """It tells of each function that is left as leaked."""
    made = 'kept = type("nb_func", (), {"__module__": "nanobind"})()'
    command = [sys.executable, "-c", f"{END}\n{made}", str(tmp_path / "a"), "asked"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "looked for"


def test_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy's collector has no such search."""
    monkeypatch.delattr(gc, "freeze")
    leave_without_a_search(bool)
