"""A set that tells when something was taken out of it.

What is under way is kept in two sets of the `Runtime`, and whoever is done leaves its set by itself. While somebody
waits for that, the plain set gives way to one that tells; a server with nothing to wait for pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["WatchedSet", "watched"]

T = TypeVar("T")


class WatchedSet(set[T]):
    """A set; `watchers` are called, without arguments, each time that an item was discarded."""

    def __init__(self, items: Iterable[T]) -> None:
        super().__init__(items)
        self.watchers: list[Callable[[], None]] = []

    def discard(self, item: object) -> None:
        """Take `item` out, and tell."""
        super().discard(item)
        for watcher in self.watchers:
            watcher()


def watched(items: set[T], watcher: Callable[[], None]) -> WatchedSet[T]:
    """A set with the same items (the same set, if it is watched already) that tells `watcher`."""
    found = items if isinstance(items, WatchedSet) else WatchedSet(items)
    found.watchers.append(watcher)
    return found
