"""The thread that watches: started, ended, and started again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from uvicorn_worker.core.watch_thread import WatchThread

if TYPE_CHECKING:
    import pytest


class Watch(WatchThread):
    name = "a watch"

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def watch(self, end: threading.Event) -> None:
        self.begun.set()
        end.wait()


def running() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == Watch.name]


def test_it_is_one_and_ends() -> None:
    watch = Watch()
    watch.stop()
    for _ in range(2):
        watch.start()
        watch.start()
        assert watch.begun.wait(10)
        (thread,) = running()
        assert thread.daemon
        watch.stop()
        assert running() == []


def test_it_may_end_by_itself_and_be_stopped_from_within() -> None:
    class Ends(Watch):
        def watch(self, end: threading.Event) -> None:
            self.stop()
            assert end.is_set()
            self.begun.set()

    watch = Ends()
    watch.start()
    assert watch.begun.wait(10)


def test_where_there_are_no_threads_left_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container has a limit of processes, and threads count."""

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watch = Watch()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        watch.start()
        watch.stop()
    assert running() == []
    watch.start()
    assert watch.begun.wait(10)
    watch.stop()
    assert running() == []
