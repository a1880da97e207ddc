"""The answer of a worker that is about to be aborted; tests/e2e/test_blocked.py has real ones."""

from __future__ import annotations

import socket
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.core.config import Config
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.worker import last_words
from uvicorn_worker.worker.last_words import answer_holder, answer_past_the_loop, holder_of_loop
from uvicorn_worker.worker.offenders import Offenders


class Transport:
    def __init__(self, sock: Any, waiting: int = 0) -> None:
        self.sock = sock
        self.waiting = waiting

    def get_extra_info(self, name: str) -> Any:
        return self.sock

    def get_write_buffer_size(self) -> int:
        return self.waiting


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class Case:
    """A request over one end of a socket pair, and a server that has it."""

    def __init__(self, method: str = "GET", **options: Any) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.logged: list[int] = []
        self.later: list[Any] = []
        self.turns: list[int] = []
        self.loop = SimpleNamespace(call_soon_threadsafe=self.later.append)
        config = Config(app=app, **options)
        self.runtime = SimpleNamespace(
            config=config,
            cycles=set(),
            writing=[],
            end_turn=lambda: self.turns.append(1),
            loop=self.loop,
            now=0.0,
            persists=True,
            access=lambda cycle: self.logged.append(cycle.status),
            defaults=SimpleNamespace(lines=b"server: uvicorn\r\n"),
        )
        self.conn = SimpleNamespace(
            transport=Transport(self.ours), tls_overhead=0, gathered=None, abort=lambda: None, flush=lambda: None
        )
        self.scope = {"type": "http", "method": method, "path": "/slow", "client": None}
        self.cycle: Any = RequestCycle(self.conn, self.runtime, self.scope, True)  # type: ignore[arg-type]
        self.cycle.head_only = method == "HEAD"
        self.conn.cycle = self.cycle
        self.runtime.cycles.add(self.cycle)
        self.closed: list[int] = []
        self.server: Any = SimpleNamespace(
            started=True,
            own_runtime=self.runtime,
            config=config,
            own_acceptor=SimpleNamespace(close=lambda: self.closed.append(1)),
        )

    def got(self) -> bytes:
        try:
            return self.theirs.recv(1000)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The task that has the loop."""
    found: list[Any] = [object()]
    monkeypatch.setattr(last_words, "running_task", lambda loop: found[0])
    monkeypatch.setattr(Offenders, "_of_master", None)
    return found


@pytest.fixture
def case() -> Any:
    found = Case()
    yield found
    found.close()


class TestWhoHasTheLoop:
    def test_before_the_start_nobody(self, case: Case) -> None:
        case.server.started = False
        assert holder_of_loop(case.server, None) is None
        answer_holder(case.server, None)
        assert case.closed == []

    def test_by_its_task(self, case: Case, running: list[Any]) -> None:
        case.cycle.task = running[0]
        assert holder_of_loop(case.server, None) is case.cycle

    def test_in_its_first_step_it_has_none(self, case: Case) -> None:
        assert holder_of_loop(case.server, None) is case.cycle

    def test_by_the_scope_of_a_function_in_another_task(self, case: Case) -> None:
        case.cycle.task = object()

        def handler(scope: Any) -> Any:
            def inner() -> Any:
                return holder_of_loop(case.server, sys._getframe())

            return inner()

        assert handler(case.scope) is case.cycle
        assert handler(dict(case.scope)) is None

    def test_not_below_any_number_of_functions(self, case: Case) -> None:
        """What has called itself until nothing more goes is no reason to look for long."""
        case.cycle.task = object()

        def handler(scope: Any, depth: int) -> Any:
            return inner(depth)

        def inner(depth: int) -> Any:
            return holder_of_loop(case.server, sys._getframe()) if depth == 0 else inner(depth - 1)

        assert handler(case.scope, 10) is case.cycle
        assert handler(case.scope, 300) is None


class TestPastTheLoop:
    @pytest.mark.parametrize("gil", [True, False])
    def test_without_the_gil_no_variables_are_read(
        self, case: Case, monkeypatch: pytest.MonkeyPatch, gil: bool
    ) -> None:
        """Those of a thread that may go on meanwhile; the request is found by its task."""
        looked: list[bool] = []

        def frames() -> dict[int, Any]:
            looked.append(True)
            return {}

        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: gil, raising=False)
        monkeypatch.setattr(sys, "_current_frames", frames)
        answer_past_the_loop(case.server)
        assert case.got().startswith(b"HTTP/1.1 503 ")
        assert bool(looked) is gil

    def test_503(self, case: Case) -> None:
        answer_past_the_loop(case.server)
        head, _, body = case.got().partition(b"\r\n\r\n")
        assert head.splitlines()[0] == b"HTTP/1.1 503 Service Unavailable"
        assert {b"server: uvicorn", b"connection: close", b"content-length: 19"} <= set(head.splitlines())
        assert body == b"Service Unavailable"
        assert case.theirs.recv(1) == b""
        assert case.logged == [503]
        # Should the application come back, it has nobody to answer.
        assert case.cycle.lost
        assert case.later == [case.conn.abort]
        answer_past_the_loop(case.server)
        assert case.logged == [503]

    def test_what_others_were_answered_in_this_turn(self, case: Case) -> None:
        others = [Case(), Case()]
        for other in others:
            other.conn.take_gathered = lambda: b"HTTP/1.1 200 OK\r\n\r\n"
            case.runtime.writing.append(other.conn)
        others[1].conn.tls_overhead = 21
        answer_past_the_loop(case.server)
        assert [other.got() for other in others] == [b"HTTP/1.1 200 OK\r\n\r\n", b""]
        for other in others:
            other.close()

    def test_head(self) -> None:
        case = Case("HEAD")
        # The application's: a middleware may have written what it likes.
        case.scope["method"] = "GET"
        answer_past_the_loop(case.server)
        assert case.got().endswith(b"\r\n\r\n")
        case.close()

    @pytest.mark.parametrize("reason", ["tls", "gathered", "waiting", "turn"])
    def test_not_where_something_else_is_to_be_sent(self, case: Case, reason: str) -> None:
        if reason == "tls":
            case.conn.tls_overhead = 21
        elif reason == "gathered":
            case.conn.gathered = [b"100"]
        elif reason == "waiting":
            case.conn.transport.waiting = 1
        else:
            case.conn.cycle = None
        answer_past_the_loop(case.server)
        assert (case.got(), case.logged, case.cycle.lost) == (b"", [], False)

    def test_not_where_the_response_has_begun(self, case: Case) -> None:
        case.cycle.stage = 2
        answer_past_the_loop(case.server)
        assert (case.got(), case.logged) == (b"", [])

    def test_a_socket_that_is_gone(self, case: Case) -> None:
        case.ours.close()
        answer_past_the_loop(case.server)
        assert case.logged == []

    def test_nobody(self, case: Case) -> None:
        case.runtime.cycles.clear()
        answer_past_the_loop(case.server)
        answer_holder(case.server, None)
        assert case.got() == b""

    def test_from_another_thread(self, case: Case) -> None:
        case.cycle.task = object()
        scope = case.scope

        def wait(scope: Any) -> None:
            thread = threading.Thread(target=answer_past_the_loop, args=(case.server,))
            thread.start()
            thread.join()

        wait(scope)
        assert case.logged == [503]


class TestOnTheLoop:
    def test_what_others_were_answered_in_this_turn(self, case: Case) -> None:
        case.runtime.cycles.clear()
        answer_holder(case.server, None)
        assert case.turns == [1]

    def test_as_any_answer_of_the_server(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        answered: list[Any] = []
        monkeypatch.setattr(RequestCycle, "answer", lambda self, *args: answered.append((self.keep_alive, args[0])))
        case.cycle.stage = 1
        answer_holder(case.server, None)
        assert answered == [(False, 503)]
        # Whoever comes now is for other workers.
        assert case.closed == [1]

    @pytest.mark.parametrize("stage", [2, 3])
    def test_not_where_the_response_has_begun(self, case: Case, monkeypatch: pytest.MonkeyPatch, stage: int) -> None:
        monkeypatch.setattr(RequestCycle, "answer", None)
        case.cycle.stage = stage
        answer_holder(case.server, None)

    def test_what_goes_wrong_does_not_hold_up_the_end(self, case: Case) -> None:
        del case.conn.flush
        case.runtime.access = None
        answer_holder(case.server, None)


def test_it_counts_for_the_path() -> None:
    case = Case(block_repeat_offenders=60)
    offenders = Offenders.of_master()
    # The thread first, then the handler of the signal.
    answer_past_the_loop(case.server)
    answer_holder(case.server, None)
    assert not offenders.refuses("/slow", 60)
    assert offenders.add("/slow", 60) == 2
    case.close()
