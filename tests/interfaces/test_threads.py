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


class TestMailbox:
    def test_calls_are_made_in_the_loop_in_order(self) -> None:
        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            mailbox, calls, done = Mailbox(loop), [], loop.create_future()

            def post() -> None:
                for number in range(5):
                    mailbox.post(lambda number=number: calls.append((number, threading.current_thread())))  # type: ignore[misc]
                mailbox.post(lambda: done.set_result(None))

            thread = threading.Thread(target=post)
            thread.start()
            await asyncio.wait_for(done, PATIENCE)
            thread.join()
            return calls

        assert asyncio.run(main()) == [(number, threading.current_thread()) for number in range(5)]

    def test_one_wake_up_for_what_comes_at_once(self) -> None:
        loop = mock_loop()
        mailbox, calls = Mailbox(loop), []
        mailbox.post(lambda: calls.append(1))
        mailbox.post(lambda: calls.append(2))
        assert len(loop.rung) == 1
        loop.rung.pop()()
        assert calls == [1, 2]
        mailbox.post(lambda: calls.append(3))
        loop.rung.pop()()
        assert calls == [1, 2, 3]

    def test_a_closed_loop(self) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        mailbox = Mailbox(loop)
        for _ in range(2):
            # Each time: nobody may wait for a bell that nobody hears.
            with pytest.raises(RuntimeError):
                mailbox.post(lambda: None)


def mock_loop() -> Any:
    class Loop:
        def __init__(self) -> None:
            self.rung: list[Any] = []

        def call_soon_threadsafe(self, call: Any) -> None:
            self.rung.append(call)

    return Loop()
