"""Paths that have cost workers, as all workers of a master know them."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.worker.offenders import ROOM, Offenders, refusing


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: int(seconds[0] * 1e9))
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_path_is_refused_once_it_has_cost_two(now: list[float]) -> None:
    offenders = Offenders()
    assert not offenders.refuses("/", 60)
    assert offenders.add("/slow", 60) == 1
    assert not offenders.refuses("/slow", 60)
    now[0] += 30
    assert offenders.add("/slow", 60) == 2
    assert offenders.refuses("/slow", 60)
    assert not offenders.refuses("/other", 60)
    now[0] += 61
    assert not offenders.refuses("/slow", 60)


def test_what_is_long_ago_does_not_count(now: list[float]) -> None:
    offenders = Offenders()
    offenders.add("/slow", 60)
    now[0] += 61
    assert offenders.add("/slow", 60) == 1


def test_the_oldest_makes_room(now: list[float]) -> None:
    offenders = Offenders()
    for number in range(ROOM + 1):
        now[0] += 0.01
        offenders.add(f"/{number}", 60)
    for number in range(ROOM + 1):
        assert offenders.add(f"/{number}", 60) == 1 or number > 0


def test_a_request_counts_once(now: list[float]) -> None:
    offenders = Offenders()
    cycle = SimpleNamespace(scope={"path": "/slow\udcff"})
    offenders.add_once(cycle, 60)
    offenders.add_once(cycle, 60)
    assert not offenders.refuses("/slow\udcff", 60)
    offenders.add_once(SimpleNamespace(scope=cycle.scope), 60)
    assert offenders.refuses("/slow\udcff", 60)


def test_it_is_shared_with_what_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Offenders, "_of_master", None)
    offenders = Offenders.of_master()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        Offenders.of_master().add("/slow", 60)
        os._exit(0)
    os.waitpid(pid, 0)
    assert offenders.add("/slow", 60) == 2


def test_the_application_is_not_called(now: list[float]) -> None:
    offenders, called, sent, said = Offenders(), list[str](), list[Any](), list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    guarded = refusing(app, offenders, 60, lambda *args: said.append(args))

    async def ask(kind: str) -> None:
        await guarded({"type": kind, "path": "/slow"}, None, send)  # type: ignore[arg-type]

    asyncio.run(ask("http"))
    offenders.add("/slow", 60)
    offenders.add("/slow", 60)
    for kind in ("http", "websocket", "lifespan"):
        asyncio.run(ask(kind))
    assert called == ["http", "lifespan"]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "websocket.close"]
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"60") in sent[0]["headers"]
    assert len(said) == 1
