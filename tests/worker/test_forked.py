"""What is done at a fork, in the parent and in the child; real forks are in tests/e2e/lifecycle/test_children.py."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.core import forked as state
from uvicorn_worker.worker import forked as module


class Server:
    """Its bound methods are the handlers of the worker."""

    def handle(self, sig: int, frame: Any) -> None:
        """A signal."""


class Transport:
    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> Any:
        return self._sock


class Fork:
    """`register_at_fork` as it is called here, and what there is for the child to have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wakeups: list[int] = []
        monkeypatch.setattr(os, "register_at_fork", lambda **hooks: self.hooks.update(hooks), raising=False)
        monkeypatch.setattr(state, "_forked", [])
        # That of the process, which pytest and its like may use.
        monkeypatch.setattr(signal, "set_wakeup_fd", self.wakeups.append)
        self.hooks: dict[str, Callable[[], None]] = {}
        self.befores = 0
        self.server = Server()
        self.loop = asyncio.new_event_loop()
        self.listener = socket.socket()
        self.ours, self.theirs = socket.socketpair()
        self.connections = [
            SimpleNamespace(transport=Transport(self.ours)),
            SimpleNamespace(transport=Transport(None)),
            SimpleNamespace(transport=None),
            SimpleNamespace(),
        ]
        module.keep_from_children(
            self.loop,
            lambda: [self.listener],
            lambda: self.connections,
            lambda handler: getattr(handler, "__self__", None) is self.server,
            self.before,
        )

    def before(self) -> None:
        self.befores += 1

    def close(self) -> None:
        self.loop.close()
        for sock in (self.listener, self.ours, self.theirs):
            sock.close()


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fork]:
    before = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    fork = Fork(monkeypatch)
    yield fork
    for sig, handler in before.items():
        signal.signal(sig, handler)
    fork.close()


def test_the_child_has_none_of_it(fork: Fork) -> None:
    signal.signal(signal.SIGTERM, fork.server.handle)
    signal.signal(signal.SIGINT, fork.server.handle)
    own = lambda sig, frame: None  # noqa: E731 - a handler of the application's
    signal.signal(signal.SIGUSR1, own)
    number = fork.ours.fileno()
    fork.hooks["after_in_child"]()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGUSR1) is own
    assert fork.wakeups == [-1]
    assert fork.listener.fileno() == -1
    # The other side sees the end, though the number is still taken.
    assert fork.theirs.recv(1) == b""
    assert os.fstat(number)
    assert state.is_forked()


def test_a_child_of_the_child_has_nothing_to_lose(fork: Fork) -> None:
    state.mark_forked()
    fork.hooks["after_in_child"]()
    assert fork.listener.fileno() != -1


def test_coming_back_to_the_loop_is_the_end(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[Any] = []

    def leave(code: Any) -> None:
        codes.append(code)
        fork.loop.stop()

    monkeypatch.setattr(module, "leave", leave)
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    fork.hooks["after_in_child"]()
    fork.loop.run_forever()
    assert codes == [1]
    assert "came back to the event loop" in stderr.getvalue()


def test_a_loop_that_is_closed_and_no_number_that_is_free(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> int:
        raise OSError

    monkeypatch.setattr(os, "open", full)
    fork.loop.close()
    fork.hooks["after_in_child"]()
    assert fork.listener.fileno() == -1
    monkeypatch.undo()


def test_before_a_fork_of_the_worker_and_of_nobody_else(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    fork.hooks["before"]()
    assert fork.befores == 1
    monkeypatch.setattr(os, "getpid", lambda: 0)
    fork.hooks["before"]()
    assert fork.befores == 1


def test_where_nothing_can_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    loop = asyncio.new_event_loop()
    module.keep_from_children(loop, list, list, bool, lambda: None)
    loop.close()


def test_processes_of_the_master_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    class Child:
        def __init__(self, parent: int) -> None:
            self._parent_pid = parent

    own = Child(os.getpid())
    children = {own, Child(os.getppid())}
    monkeypatch.setattr(multiprocessing.process, "_children", children)
    module.forget_the_masters()
    assert children == {own}


class TestTheEndOfTheWorker:
    def child(self, daemon: bool) -> Any:
        ended: list[int] = []
        return SimpleNamespace(daemon=daemon, terminate=lambda: ended.append(1), ended=ended)

    def test_it_waits_for_daemons_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Child:
            def __init__(self, daemon: bool) -> None:
                self.daemon = daemon

        plain, daemon = Child(daemon=False), Child(daemon=True)
        children = {plain, daemon}
        monkeypatch.setattr(multiprocessing.process, "_children", children)
        module.let_children_go()
        assert children == {daemon}

    def test_without_multiprocessing_there_is_nothing_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "multiprocessing.process")
        monkeypatch.delitem(sys.modules, "multiprocessing")
        module.forget_the_masters()
        module.let_children_go()
        module.end_children()

    def test_past_its_time_pools_and_daemons_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain, daemon, pooled = self.child(False), self.child(True), self.child(False)
        broken = SimpleNamespace(daemon=True, terminate=None)
        monkeypatch.setattr(multiprocessing, "active_children", lambda: [broken, plain, daemon])
        manager: Any = threading.Thread(target=lambda: None)
        manager.processes = {1: pooled}
        monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread(), manager])
        module.end_children()
        assert (plain.ended, daemon.ended, pooled.ended) == ([], [1], [1])
