"""Imports of many modules at once."""

from __future__ import annotations

import gc
import sysconfig
import weakref
from collections.abc import Iterator

import pytest

from uvicorn_worker.core.imports import without_garbage_search

pytestmark = pytest.mark.skipif(
    not hasattr(gc, "unfreeze") or sysconfig.get_config_var("Py_GIL_DISABLED") == 1,
    reason="there is no gc.freeze, or there are no generations",
)


class Node:
    me: Node


def cycle() -> weakref.ref[Node]:
    node = Node()
    node.me = node
    return weakref.ref(node)


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """All tests are frozen (tests/conftest.py), and are so afterwards."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def test_what_was_made_is_old_and_still_found() -> None:
    gc.collect()
    with without_garbage_search():
        assert not gc.isenabled()
        ref = cycle()
    assert gc.isenabled()
    assert not gc.get_freeze_count()
    gc.collect(0)
    assert ref() is not None
    gc.collect()
    assert ref() is None


def test_what_others_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with without_garbage_search():
        pass
    assert gc.get_freeze_count() > frozen * 0.9
    gc.unfreeze()


def test_where_the_search_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with without_garbage_search():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_after_a_failure() -> None:
    with pytest.raises(ImportError), without_garbage_search():
        raise ImportError
    assert gc.isenabled()
