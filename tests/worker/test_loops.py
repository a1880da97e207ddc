"""Which event loop serves, by what the application has done with the one that is there at its import."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.http1.apps import hello
from uvicorn_worker.core.config import Config
from uvicorn_worker.worker.loops import LoopChoice

uvloop = pytest.importorskip("uvloop")


@pytest.fixture
def choices() -> Iterator[list[LoopChoice]]:
    made: list[LoopChoice] = []
    yield made
    for choice in made:
        choice.loop.close()
    asyncio.set_event_loop(None)


def choose(choices: list[LoopChoice], loop: str) -> LoopChoice:
    choice = LoopChoice(Config(app=hello, loop=loop))
    choices.append(choice)
    choice.watch()
    return choice


def served(choice: LoopChoice) -> str:
    loop = choice.decide()
    try:
        return type(loop).__module__.partition(".")[0]
    finally:
        if loop is not choice.loop:
            loop.close()


@pytest.mark.parametrize("loop", ["auto", "uvloop"])
def test_an_application_that_does_not_ask(choices: list[LoopChoice], loop: str) -> None:
    choice = choose(choices, loop)
    assert isinstance(choice.loop, asyncio.BaseEventLoop)
    assert served(choice) == "uvloop"
    assert choice.note is None
    assert choice.loop.is_closed()


def test_asyncios_is_set_from_the_beginning(choices: list[LoopChoice]) -> None:
    choice = choose(choices, "asyncio")
    assert choice.decide() is choice.loop
    assert choice.note is None


def patched(loop: Any) -> None:
    loop._nest_patched = True


def busy(loop: Any) -> None:
    loop.call_soon(print)


kept: list[Any] = []


def keeps(loop: Any) -> None:
    kept.append(loop)


@pytest.mark.parametrize(("use", "says"), [(patched, "has patched"), (busy, "has put work on"), (keeps, "has kept")])
def test_one_that_makes_use_of_it_is_served_by_it(choices: list[LoopChoice], use: Any, says: str) -> None:
    choice = choose(choices, "auto")
    use(choice.loop)
    assert choice.decide() is choice.loop
    assert choice.note is not None
    assert says in choice.note
    kept.clear()


def test_one_that_closes_it_gets_another(choices: list[LoopChoice]) -> None:
    """As a script does that has run something to its end."""
    choice = choose(choices, "auto")
    choice.loop.close()
    assert served(choice) == "uvloop"
    assert choice.note is None


def test_uvloop_by_name_serves_in_any_case(choices: list[LoopChoice]) -> None:
    choice = choose(choices, "uvloop")
    patched(choice.loop)
    assert served(choice) == "uvloop"
    assert choice.note is not None
    assert "set loop to asyncio" in choice.note
