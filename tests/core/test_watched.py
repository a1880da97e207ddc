"""A set that tells."""

from __future__ import annotations

from uvicorn_worker.core.watched import WatchedSet, watched


def test_it_tells_when_something_was_taken_out() -> None:
    seen: list[set[int]] = []
    plain = {1, 2}
    found = watched(plain, lambda: seen.append(set(found)))
    found.add(3)
    assert seen == []
    found.discard(1)
    assert seen == [{2, 3}]
    assert plain == {1, 2}


def test_a_watched_set_is_kept() -> None:
    calls: list[str] = []
    first: WatchedSet[int] = watched({1}, lambda: calls.append("first"))
    second = watched(first, lambda: calls.append("second"))
    assert second is first
    second.discard(1)
    assert calls == ["first", "second"]
