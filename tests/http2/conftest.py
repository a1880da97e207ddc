"""Fixtures of the tests of HTTP/2: each test of an engine runs over every engine that there is."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from tests.http2.wire import Client, Frame
from uvicorn_worker.http2.engine import Engine
from uvicorn_worker.http2.events import Event
from uvicorn_worker.http2.limits import Limits

#: The option's value, module and class of each engine.
_ALL = {"h2": ("h2_engine", "H2Engine"), "native": ("native", "NativeEngine")}
ENGINES = [name for name, (module, _) in _ALL.items() if importlib.util.find_spec(f"uvicorn_worker.http2.{module}")]


def engine_class(name: str) -> Any:
    """The class of an engine."""
    module, attribute = _ALL[name]
    return getattr(importlib.import_module(f"uvicorn_worker.http2.{module}"), attribute)


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Each engine in turn, as option http2_engine names it."""
    return str(request.param)


class Pair:
    """An engine and a client, bytes carried by hand."""

    def __init__(
        self, make: Callable[[Limits], Engine], *, client_settings: dict[int, int] | None = None, **limits: Any
    ):
        self.engine = make(Limits(**limits))
        self.client = Client()
        self.events: list[Event] = []
        self.engine.start()
        self.deliver(self.client.preface(client_settings))
        self.events.clear()

    def deliver(self, *pieces: bytes, each: int | None = None) -> list[Event]:
        """Give bytes to the engine (in reads of `each` bytes), and what it sends to the client; the events."""
        data = b"".join(pieces)
        reads = [data[at : at + each] for at in range(0, len(data), each)] if each else [data]
        events = [event for read in reads for event in self.engine.receive_data(read)]
        self.events += events
        self.pull()
        return events

    def pull(self) -> list[Frame]:
        """Let the client read what the engine has to send; the frames."""
        pieces = self.engine.data_to_send()
        assert all(pieces), "an empty piece"
        return self.client.receive(b"".join(pieces))

    def prepare(self, *fields: tuple[bytes, bytes]) -> list[Any]:
        return [self.engine.prepare(name, value) for name, value in fields]


Connect = Callable[..., Pair]


@pytest.fixture
def pair(engine_name: str) -> Connect:
    """An engine whose connection has begun: `pair(client_settings={...}, max_frame_size=...)`."""
    make = engine_class(engine_name)
    return lambda **options: Pair(make, **options)
