"""How often a process that only serves looks for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from uvicorn_worker.core.garbage import search_as_newer_pythons

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
