"""What is under way, in words."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from uvicorn_worker.logs.in_flight import census, describe_cycles, named_cycles, running_task


def cycle(target: bytes = b"/", started: float = 100.0, **values: Any) -> Any:
    scope = {"type": "http", "method": "GET", "client": ("192.0.2.7", 50123), **values.pop("scope", {})}
    return SimpleNamespace(**{"scope": scope, "target": target, "started": started, "task": object(), **values})


def connection(idle: bool) -> Any:
    return SimpleNamespace(idle=idle)


class TestDescribe:
    def test_the_oldest_comes_first(self) -> None:
        cycles = [cycle(b"/new?q=1", 109.0), cycle(b"/old", 90.0, scope={"method": "POST"})]
        assert describe_cycles(cycles, 110.0) == [
            "POST /old for 20.0 s, from 192.0.2.7:50123",
            "GET /new?q=1 for 1.0 s, from 192.0.2.7:50123",
        ]

    def test_other_kinds(self) -> None:
        cycles = [
            cycle(scope={"client": None}, started=1.0),
            cycle(status=101, started=2.0),
            cycle(b"/ws", scope={"type": "websocket"}, started=3.0),
            cycle(started=99.0),
        ]
        assert describe_cycles(cycles, 10.0) == [
            "GET / for 9.0 s, from a unix socket",
            "WebSocket / for 8.0 s, from 192.0.2.7:50123",
            "WebSocket /ws for 7.0 s, from 192.0.2.7:50123",
            "GET / for 0.0 s, from 192.0.2.7:50123",
        ]

    def test_the_one_that_has_the_loop_is_marked(self) -> None:
        running: Any = object()
        cycles = [cycle(b"/waits", 1.0), cycle(b"/runs", 2.0, task=running)]
        waits, runs = describe_cycles(cycles, 3.0, running)
        assert not waits.endswith(")")
        assert runs == "GET /runs for 1.0 s, from 192.0.2.7:50123 (it has the event loop)"

    def test_so_is_one_in_its_first_step(self) -> None:
        running: Any = object()
        assert describe_cycles([cycle(task=None)], 100.0, running)[0].endswith("(it has the event loop)")
        assert not describe_cycles([cycle(task=None)], 100.0)[0].endswith(")")


class TestCensus:
    def test_of_nothing(self) -> None:
        found = census([], [])
        assert str(found) == "0 requests, 0 WebSockets, 0 streams, 0 idle connections"

    def test_each_is_counted_once(self) -> None:
        cycles = [cycle(), cycle(), cycle(status=200), cycle(status=101)]
        connections = [connection(False)] * 4 + [connection(True)] * 3 + [connection(False)]
        assert str(census(cycles, connections, 1)) == (
            "2 requests, 1 WebSocket, 1 stream, 3 idle connections, 2 connections in reading or closing"
        )

    def test_many_requests_on_one_connection(self) -> None:
        assert str(census([cycle()] * 5, [connection(False)])) == (
            "5 requests, 0 WebSockets, 0 streams, 0 idle connections"
        )


def test_the_running_task() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert running_task(loop) is asyncio.current_task()

    asyncio.run(main())


def test_there_may_be_none() -> None:
    loop = asyncio.new_event_loop()
    assert running_task(loop) is None
    loop.close()


def test_none() -> None:
    assert describe_cycles([], 0.0) == []


class TestNamed:
    def test_the_oldest_and_how_many_more(self) -> None:
        cycles = [cycle(b"/%d" % number, 100.0 - number) for number in range(12)]
        named = named_cycles([*cycles, cycle(b"/chat", 0.0, status=101)], 101.0)
        assert named.startswith("WebSocket /chat, 101.0 s; GET /11, 12.0 s; GET /10, 11.0 s; ")
        *listed, more = named.split("; ")
        assert more == f"and {13 - len(listed)} more"

    def test_few(self) -> None:
        assert named_cycles([cycle(b"/a b", 1.0)], 2.5) == "GET /a b, 1.5 s"
        assert named_cycles([], 2.5) == ""
