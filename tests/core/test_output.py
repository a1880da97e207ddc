"""Writing and closing, whatever is written: a connection over a scripted transport."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.records import records_of
from tests.scripted import ScriptedTransport
from uvicorn_worker.core import output as module
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.output import (
    ALLOWED_BYTES,
    CLOSING_TICKS,
    DIRECT_PIECES,
    GATHER_LIMIT,
    LINGER_BYTES,
    LINGER_TICKS,
    LINGER_TOTAL_TICKS,
    STOP_LINGER_SECONDS,
    Output,
)
from uvicorn_worker.core.runtime import Runtime


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class Line(Output):
    """A connection that answers nothing."""

    __slots__ = ("deadlines",)

    transport: ScriptedTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, ScriptedTransport)
        self.use_transport(transport)
        self.runtime.connections.add(self)
        self.deadlines = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self.runtime.connections.discard(self)

    def on_deadline(self) -> None:
        self.deadlines += 1
        if self.closing:
            self.end_linger()

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.runtime.count_tick()
            self.on_tick(self.runtime.tick)

    def turn(self) -> None:
        self.runtime.loop.call_soon(self.runtime.loop.stop)
        self.runtime.loop.run_forever()

    @property
    def calls(self) -> list[str]:
        return self.transport.calls


Connect = Callable[..., Line]


@pytest.fixture
def connect(loop: asyncio.AbstractEventLoop) -> Connect:
    """A connection: `connect(tls=True, timeout_write=5)`."""

    def start(*, tls: bool = False, **options: Any) -> Line:
        runtime = Runtime(Config(app=app, **options), app, loop)
        # Whether this Python's asyncio can be given several pieces is a test of its own.
        runtime.can_writelines = True
        line = Line(runtime)
        transport = ScriptedTransport(loop, half_close=not tls)
        transport.set_protocol(line)
        line.connection_made(transport)
        return line

    return start


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the kernel holds of a connection: `unread` and `unsent` bytes."""
    sizes = {"unread": 0, "unsent": 0}
    monkeypatch.setattr(module, "unread_in_kernel", lambda transport: sizes["unread"])
    monkeypatch.setattr(module, "unsent_by_kernel", lambda transport: sizes["unsent"])
    return sizes


class TestWriting:
    def test_a_turn_is_one_write(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.gather(b"b")
        assert line.calls == []
        line.turn()
        assert line.transport.writes == [b"ab"]
        line.turn()
        assert line.calls == ["write"]

    def test_one_piece_is_written_as_it_is(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.flush()
        # The end of the turn has nothing left to write.
        line.turn()
        assert line.transport.writes == [b"a"]

    def test_enough_leaves_at_once(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.gather(bytes(GATHER_LIMIT))
        assert line.calls == ["writelines"]
        line.gather(bytes(GATHER_LIMIT * 2))
        assert line.calls == ["writelines", "write"]

    def test_what_is_enough_doubles_while_the_socket_takes_all(self, connect: Connect) -> None:
        line = connect()
        for _ in range(20):
            line.gather(bytes(GATHER_LIMIT))
        sizes = [len(data) // GATHER_LIMIT for data in line.transport.writes]
        assert sizes == [1, 2, 4, 4, 4, 4]
        line.flush()
        line.transport.writes.clear()
        line.transport.stall()
        for _ in range(4):
            line.gather(bytes(GATHER_LIMIT))
        assert line.write_paused
        line.transport.writes.clear()
        for _ in range(4):
            line.gather(bytes(GATHER_LIMIT))
        assert [len(data) // GATHER_LIMIT for data in line.transport.writes] == [1, 1, 1, 1]

    def test_many_small_pieces_are_joined(self, connect: Connect) -> None:
        """Each of them would cost more in a write of several than it is worth."""
        line = connect()
        for number in range(100):
            line.gather(b"%03d " % number * 250)
        assert line.calls == ["write"]
        line.flush()
        assert line.calls == ["write", "write"]
        assert b"".join(line.transport.writes) == b"".join(b"%03d " % number * 250 for number in range(100))

    def test_a_request_that_was_begun_in_the_turn_may_answer_in_the_next(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.rerun_flush = True
        line.turn()
        assert line.calls == []
        line.gather(b"b")
        line.turn()
        assert line.transport.writes == [b"ab"]

    def test_large_pieces_are_not_joined(self, connect: Connect) -> None:
        line = connect()
        line.write_pieces([b"a", b"b"])
        line.gather(b"c")
        line.write_pieces([b"d"])
        assert line.calls == ["writelines", "writelines"]
        assert line.transport.writes == [b"ab", b"cd"]

    @pytest.mark.parametrize("tls", [False, True])
    def test_many_go_to_the_socket_itself(self, connect: Connect, tls: bool) -> None:
        """Not under TLS, whose socket they are not for; what it does not take is the transport's."""
        line = connect(tls=tls)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            line.transport.get_extra_info = {"socket": ours}.get  # type: ignore[assignment,method-assign]
            pieces = [b"%d" % number * 10_000 for number in range(DIRECT_PIECES)]
            line.write_pieces(pieces)
            assert line.calls == (["writelines"] if tls else [])
            assert line.runtime.tally.bytes_out == 10_000 * DIRECT_PIECES
            if tls:
                with pytest.raises(BlockingIOError):
                    theirs.recv(1)
                return
            assert theirs.recv(1_000_000) == b"".join(pieces)
            line.write_pieces([*pieces, bytes(1 << 23)])
            assert line.calls == ["writelines"]
            (left,) = line.transport.writes
            got = bytearray()
            with contextlib.suppress(BlockingIOError):
                while True:
                    got += theirs.recv(1_000_000)
            assert got + left == b"".join([*pieces, bytes(1 << 23)])

    def test_where_writelines_does_not_pause_they_are(self, connect: Connect) -> None:
        line = connect()
        line.runtime.can_writelines = False
        line.write_pieces([b"a", b"b"])
        assert line.calls == ["write"]
        assert line.transport.writes == [b"ab"]

    def test_a_client_that_is_gone_pauses_the_application(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.transport.leave()
        line.flush()
        assert line.calls == []
        assert line.write_paused

    def test_a_client_that_does_not_read_pauses_it_too(self, connect: Connect) -> None:
        line = connect()
        line.transport.stall()
        line.write_pieces([bytes(100_000)])
        assert line.write_paused

    def test_the_peer(self, connect: Connect) -> None:
        assert connect().peer == "192.0.2.7:50123"


class TestSlowClients:
    def test_one_that_takes_nothing_is_cut(self, connect: Connect) -> None:
        line = connect(timeout_write=5)
        line.transport.stall()
        line.gather(bytes(1000))
        line.flush()
        with records_of("uvicorn.error") as log:
            logging.getLogger("uvicorn.error").setLevel(logging.INFO)
            line.tick(10)
            assert not line.transport.was_reset
            line.tick(2)
        assert line.transport.was_reset
        assert "192.0.2.7:50123 took nothing of what waits for it in time: the connection is cut" in log.lines

    def test_one_that_takes_some_has_the_time_again(self, connect: Connect) -> None:
        line = connect(timeout_write=5)
        line.transport.stall()
        line.gather(bytes(1000))
        line.flush()
        for _ in range(10):
            line.tick(9)
            line.transport.take(10)
        assert line.calls == ["write"]
        line.transport.drain()
        line.tick()
        assert line.write_deadline == 0
        line.tick(20)
        assert line.calls == ["write"]

    def test_what_the_kernel_holds_counts(self, connect: Connect, kernel: dict[str, int]) -> None:
        line = connect(tls=True, timeout_write=5)
        kernel["unsent"] = 1000
        line.tick(10)
        assert line.calls == []
        line.tick(2)
        assert line.transport.was_reset

    def test_without_a_limit_none_is_cut(self, connect: Connect) -> None:
        line = connect(timeout_write=None)
        line.transport.stall()
        line.gather(bytes(1000))
        line.flush()
        line.tick(500)
        assert line.calls == ["write"]

    def test_but_one_that_is_to_be_left(self, connect: Connect) -> None:
        line = connect(timeout_write=None)
        line.transport.stall()
        line.gather(bytes(1000))
        line.close()
        line.tick(CLOSING_TICKS)
        assert not line.transport.was_reset
        line.tick(2)
        assert line.transport.was_reset

    def test_the_time_to_linger_begins_when_all_is_taken(self, connect: Connect) -> None:
        line = connect()
        line.transport.stall()
        line.gather(bytes(1000))
        line.close_gently()
        line.tick(LINGER_TICKS + 5)
        assert line.calls == ["write", "write_eof"]
        line.transport.drain()
        line.tick(LINGER_TICKS + 1)
        assert line.calls == ["write", "write_eof", "abort"]

    def test_a_deadline_of_another_kind_is_left_alone(self, connect: Connect) -> None:
        line = connect()
        line.transport.stall()
        line.gather(bytes(1000))
        line.flush()
        line.deadline = 3
        line.tick(3)
        assert line.deadlines == 1
        assert line.deadline == 0


class TestClosing:
    def test_what_was_gathered_leaves_before(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.close()
        assert line.calls == ["write", "close"]
        assert line.deadline == 0
        line.close()
        assert line.calls == ["write", "close"]

    def test_tls_does_not_wait_for_long(self, connect: Connect) -> None:
        line = connect(tls=True)
        line.close()
        line.tick(LINGER_TICKS)
        assert line.calls == ["close", "abort"]

    def test_gently(self, connect: Connect) -> None:
        line = connect()
        line.gather(b"a")
        line.close_gently()
        line.close_gently()
        assert line.calls == ["write", "write_eof"]
        assert line.lingering
        line.tick(LINGER_TICKS)
        assert line.calls == ["write", "write_eof", "abort"]

    def test_while_the_client_is_sending(self, connect: Connect) -> None:
        line = connect()
        line.close_gently()
        for _ in range(LINGER_TOTAL_TICKS // LINGER_TICKS):
            line.drop(b"x")
            line.tick(LINGER_TICKS - 1)
            assert "abort" not in line.calls
            line.drop(b"x")
            line.tick()
        # There is an end to it.
        line.drop(b"x")
        line.tick(LINGER_TICKS)
        assert line.calls == ["write_eof", "abort"]

    def test_a_client_that_sends_too_much(self, connect: Connect) -> None:
        line = connect()
        line.allow_dropping(10 * ALLOWED_BYTES)
        line.drop(bytes(LINGER_BYTES))
        assert line.dropped == LINGER_BYTES - ALLOWED_BYTES
        line.dropped = 0
        line.drop(bytes(LINGER_BYTES))
        assert line.calls == []
        line.drop(b"x")
        assert line.calls == ["abort"]

    def test_an_end_that_is_held_back_comes_behind_the_rest(self, connect: Connect) -> None:
        line = connect()
        line.allow_dropping(10, known=True, hold_end=True)
        line.close_gently()
        line.drop(bytes(9))
        assert line.calls == []
        line.drop(b"x")
        line.drop(b"x")
        assert line.calls == ["write_eof"]

    @pytest.mark.parametrize(("tls", "calls"), [(False, ["write_eof"]), (True, ["close"])])
    def test_the_rest_of_a_body_in_chunks_ends_with_the_last(
        self, connect: Connect, tls: bool, calls: list[str]
    ) -> None:
        line = connect(tls=tls)
        line.allow_dropping(ALLOWED_BYTES, hold_end=True)
        line.close_gently()
        line.drop(b"5\r\nhello\r\n")
        assert line.calls == []
        line.drop(memoryview(b"5\r\nhello\r\n0\r\n\r\n"))
        assert line.calls == calls

    def test_it_is_not_held_back_for_ever(self, connect: Connect) -> None:
        line = connect()
        line.allow_dropping(ALLOWED_BYTES, hold_end=True)
        line.close_gently()
        line.tick(LINGER_TICKS)
        assert line.calls == ["abort"]

    def test_gently_over_tls(self, connect: Connect) -> None:
        line = connect(tls=True)
        line.close_gently()
        assert line.calls == []
        line.tick(LINGER_TICKS)
        assert line.calls == ["close"]
        line.tick(LINGER_TICKS)
        assert line.calls == ["close", "abort"]

    def test_a_client_that_has_reset_the_connection(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_eof() -> None:
            raise OSError(107, "Transport endpoint is not connected")

        line = connect()
        monkeypatch.setattr(line.transport, "write_eof", write_eof)
        line.close_gently()
        assert line.calls == ["abort"]

    def test_one_that_closes_already(self, connect: Connect) -> None:
        line = connect()
        line.transport.close()
        line.close_gently()
        assert line.calls == ["close"]

    @pytest.mark.parametrize(("tls", "calls"), [(False, ["write_eof"]), (True, ["close"])])
    def test_in_order(self, connect: Connect, tls: bool, calls: list[str]) -> None:
        line = connect(tls=tls)
        line.close_in_order()
        assert line.calls == calls
        assert line.deadline

    def test_in_order_at_a_stop(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        line = connect()
        later: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(line.runtime.loop, "call_later", lambda *call: later.append(call))
        line.runtime.draining = True
        line.close_in_order()
        ((seconds, end),) = later
        assert seconds == STOP_LINGER_SECONDS
        assert line.deadline == 0
        end()
        assert line.calls == ["write_eof", "abort"]

    def test_not_for_a_client_that_is_sending(self, connect: Connect) -> None:
        line = connect()
        line.close_gently()
        line.drop(b"x")
        line.hasten()
        assert line.deadline == LINGER_TICKS

    def test_nor_one_that_still_reads(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, kernel: dict[str, int]
    ) -> None:
        line = connect(tls=True)
        later: list[Any] = []
        monkeypatch.setattr(line.runtime.loop, "call_later", lambda *call: later.append(call))
        line.close_gently()
        kernel["unsent"] = 10
        line.hasten()
        later[0][1]()
        assert not line.lingering
        assert line.calls == []

    def test_a_reset(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        line = connect()
        line.gather(b"a")
        line.reset()
        assert line.transport.was_reset
        assert line.transport.writes == []
        assert [option[1] for option in line.transport.socket.options] == [socket.SO_LINGER]
        # Transports without a socket are cut as well.
        line = connect()
        monkeypatch.setattr(line.transport, "get_extra_info", lambda name: None)
        line.reset()
        assert line.calls == ["abort"]

    def test_a_cut(self, connect: Connect) -> None:
        line = connect()
        line.abort()
        assert line.calls == ["abort"]


class TestIdle:
    def test_one_that_is(self, connect: Connect) -> None:
        assert connect().is_idle_indeed()

    def test_a_request_that_has_come_in_this_moment(self, connect: Connect, kernel: dict[str, int]) -> None:
        line = connect()
        kernel["unread"] = 1
        assert not line.is_idle_indeed()
        assert line.deadline == line.runtime.tick + 1

    @pytest.mark.parametrize(("options", "ticks"), [({}, 120), ({"timeout_write": None}, CLOSING_TICKS)])
    def test_the_last_response_is_not_taken(
        self, connect: Connect, kernel: dict[str, int], options: dict[str, Any], ticks: int
    ) -> None:
        line = connect(timeout_keep_alive=5, **options)
        kernel["unsent"] = 1
        assert not line.is_idle_indeed()
        assert line.deadline == 10 + 1
        assert line.write_deadline == pytest.approx(ticks, abs=1)
        line.runtime.draining = True
        assert line.is_idle_indeed()


class TestHooks:
    def test_a_protocol_has_to_have_them(self, connect: Connect) -> None:
        line = connect()
        with pytest.raises(NotImplementedError):
            Output.on_deadline(line)
        with pytest.raises(NotImplementedError):
            _ = line.idle
        with pytest.raises(NotImplementedError):
            line.close_if_idle()

    def test_most_have_nothing_to_say_at_a_stop(self, connect: Connect) -> None:
        line = connect()
        line.drain()
        assert line.calls == []
