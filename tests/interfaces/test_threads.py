"""The pool of threads, and the mailbox that leads back to the event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from uvicorn_worker.interfaces.threads import Mailbox, ThreadPool

PATIENCE = 20


class TestThreadPool:
    def test_threads_are_started_as_they_are_needed_and_no_more_than_its_size(self) -> None:
        pool = ThreadPool(2, "pool")
        gate = threading.Barrier(3)
        seen: SimpleQueue[threading.Thread] = SimpleQueue()

        def job(number: int) -> None:
            seen.put(threading.current_thread())
            if number < 2:
                gate.wait(PATIENCE)

        for number in range(4):
            pool.submit(job, number)
        first = {seen.get(timeout=PATIENCE), seen.get(timeout=PATIENCE)}
        assert len(first) == 2
        assert {thread.name for thread in first} == {"pool_0", "pool_1"}
        assert all(thread.daemon for thread in first)
        gate.wait(PATIENCE)
        assert {seen.get(timeout=PATIENCE), seen.get(timeout=PATIENCE)} <= first

    def test_its_threads_end_with_it(self) -> None:
        pool = ThreadPool(3, "pool")
        seen: SimpleQueue[threading.Thread] = SimpleQueue()
        pool.submit(lambda _: seen.put(threading.current_thread()), None)
        thread = seen.get(timeout=PATIENCE)
        del pool
        gc.collect()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def test_no_room_for_another_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: SimpleQueue[int] = SimpleQueue()
        go = threading.Event()
        pool = ThreadPool(3, "pool")
        pool.submit(lambda _: go.wait(PATIENCE), None)

        def refuse(self: Any) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        # The one that there is does it.
        pool.submit(done.put, 1)
        go.set()
        assert done.get(timeout=PATIENCE) == 1
        with pytest.raises(RuntimeError, match="can't start"):
            ThreadPool(3, "empty").submit(done.put, 2)


class Told:
    """A receiver, which remembers what became of it, and in which thread."""

    def __init__(self, told: list[Any], name: object = None, then: Any = None) -> None:
        self.told = told
        self.name = name
        self.then = then

    def wake(self) -> None:
        self.told.append((self.name, threading.current_thread()))
        if self.then is not None:
            self.then()

    def lose(self) -> None:
        self.told.append((self.name, "lost"))


class TestMailbox:
    def test_they_are_woken_in_the_loop_in_order(self) -> None:
        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            mailbox, done = Mailbox(loop), loop.create_future()
            told: list[Any] = []

            def post() -> None:
                for number in range(5):
                    mailbox.post(Told(told, number))
                mailbox.post(Told([], then=lambda: done.set_result(None)))

            thread = threading.Thread(target=post)
            thread.start()
            await asyncio.wait_for(done, PATIENCE)
            thread.join()
            return told

        assert asyncio.run(main()) == [(number, threading.current_thread()) for number in range(5)]

    def test_one_wake_up_for_what_comes_at_once(self) -> None:
        loop = mock_loop()
        mailbox = Mailbox(loop)
        told: list[Any] = []
        mailbox.post(Told(told, 1))
        mailbox.post(Told(told, 2))
        assert len(loop.rung) == 1
        loop.rung.pop()()
        assert [name for name, _ in told] == [1, 2]
        mailbox.post(Told(told, 3))
        loop.rung.pop()()
        assert [name for name, _ in told] == [1, 2, 3]

    def test_a_closed_loop(self) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        mailbox = Mailbox(loop)
        told: list[Any] = []
        for number in range(2):
            # Each time: nobody may wait for a bell that nobody hears.
            mailbox.post(Told(told, number))
        assert told == [(0, "lost"), (1, "lost")]

    def test_one_that_is_posted_while_another_finds_the_loop_closed(self) -> None:
        loop = mock_loop()
        mailbox = Mailbox(loop)
        told: list[Any] = []

        def closed(call: Any) -> None:
            mailbox.post(Told(told, "other"))
            raise RuntimeError("Event loop is closed")

        loop.call_soon_threadsafe = closed
        mailbox.post(Told(told, "first"))
        assert told == [("first", "lost"), ("other", "lost")]


def mock_loop() -> Any:
    class Loop:
        def __init__(self) -> None:
            self.rung: list[Any] = []

        def call_soon_threadsafe(self, call: Any) -> None:
            self.rung.append(call)

    return Loop()
