"""The board: slots that one process writes and others read."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from uvicorn_worker.board import board as module
from uvicorn_worker.board.board import BOOTING, ENDED, FAILED, SERVING, TOLD, Board
from uvicorn_worker.core.figures import words_of

if TYPE_CHECKING:
    import pytest


class TestSlots:
    def test_one_that_is_made_is_booting(self) -> None:
        board = Board()
        before = time.monotonic()
        slot = board.add(7)
        assert slot is not None
        assert (slot.pid, slot.age, slot.state, slot.alive) == (0, 7, BOOTING, True)
        assert before <= slot.since <= time.monotonic()

    def test_each_worker_has_one_of_its_own(self) -> None:
        board = Board()
        slots = [board.add(age) for age in (1, 2, 3)]
        for number, slot in enumerate(slots):
            assert slot is not None
            slot.pid = number + 100
        assert [(slot.age, slot.pid) for slot in board] == [(1, 100), (2, 101), (3, 102)]

    def test_a_counter_is_not_written_over_by_one_who_was_slower(self) -> None:
        slot = Board().add(1)
        assert slot is not None
        slot.write(words_of({"http11_2xx": 7, "connections": 3}))
        slot.raise_counters(words_of({"http11_2xx": 5, "http11_5xx": 2, "connections": 9}))
        found = slot.figures
        assert (found["http11_2xx"], found["http11_5xx"], found["connections"]) == (7, 2, 3)

    def test_what_a_child_writes_is_read_here_and_by_others_that_were_forked_before(self) -> None:
        board = Board()
        first, second = board.add(1), board.add(2)
        assert first is not None
        assert second is not None
        read_end, write_end = os.pipe()
        reader = os.fork()
        if not reader:
            # The older one: it learns of the younger, whose slot was made after it was forked.
            os.read(read_end, 1)
            states = [slot.state for slot in board]
            os._exit(0 if states == [BOOTING, BOOTING, SERVING] else 1)
        third = board.add(3)
        assert third is not None
        writer = os.fork()
        if not writer:
            third.pid = os.getpid()
            third.state = SERVING
            os._exit(0)
        assert os.waitpid(writer, 0)[1] == 0
        os.write(write_end, b"x")
        assert os.waitpid(reader, 0)[1] == 0
        assert (third.pid, third.state) == (writer, SERVING)
        os.close(read_end)
        os.close(write_end)

    def test_it_can_be_read_when_its_writer_was_killed(self) -> None:
        board = Board()
        slot = board.add(1)
        assert slot is not None
        pid = os.fork()
        if not pid:
            slot.state = TOLD
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        slot.pid = pid
        assert (slot.state, slot.alive) == (TOLD, False)

    def test_a_process_of_another_user_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(pid: int, sig: int) -> None:
            raise PermissionError

        slot = Board().add(1)
        assert slot is not None
        slot.pid = 4711
        monkeypatch.setattr(os, "kill", refuse)
        assert slot.alive

    def test_one_that_was_buried_is_gone_whoever_has_its_number_by_now(self) -> None:
        slot = Board().add(1)
        assert slot is not None
        slot.pid = os.getpid()
        slot.buried = True
        assert not slot.alive
        slot.begin(2)
        assert slot.alive

    def test_when_it_began_to_serve_stays(self) -> None:
        slot = Board().add(1)
        assert slot is not None
        assert slot.started == 0
        slot.state = SERVING
        begun = slot.started
        assert begun == slot.since
        slot.state = FAILED
        slot.state = SERVING
        assert slot.started == begun < slot.since
        slot.begin(2)
        assert (slot.started, slot.age, slot.state) == (0, 2, BOOTING)

    def test_one_that_was_not_forked_and_is_not_booting_is_not_there(self) -> None:
        slot = Board().add(1)
        assert slot is not None
        slot.state = ENDED
        assert not slot.alive

    def test_slots_are_used_again_the_longest_unused_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_WORKERS", 3)
        board = Board()
        slots = [board.add(age) for age in (1, 2, 3)]
        assert board.add(4) is None
        for at in (2, 0):
            slot = slots[at]
            assert slot is not None
            slot.state = FAILED
            slot.state = ENDED
        again = board.add(5)
        assert again is slots[2]
        assert sorted(slot.age for slot in board) == [1, 2, 5]

    def test_failures_are_counted_for_all(self) -> None:
        board = Board()
        board.failures += 2
        assert board.failures == 2


def test_what_is_in_flight() -> None:
    slot = Board().add(1)
    assert slot is not None
    slot.say_in_flight(3, 17, "GET /slow")
    assert (slot.oldest, slot.figures["requests"], slot.figures["oldest_since"]) == ("GET /slow", 3, 17)
    slot.load = 9
    assert slot.load == 9
