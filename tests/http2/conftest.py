"""Fixtures of the tests of HTTP/2: each test of an engine runs over every engine that there is."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.http2.harness import Http2Harness
from tests.http2.wire import Client, Frame, Stream
from tests.scripted import Harness
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.http2.engine.codes import FrameType
from uvicorn_worker.http2.engine.events import Event
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.engine.limits import Limits

#: The option's value, module and class of each engine.
_ALL = {"h2": ("h2.engine", "H2Engine"), "native": ("native.engine", "NativeEngine")}
ENGINES = [
    name for name, (module, _) in _ALL.items() if importlib.util.find_spec(f"uvicorn_worker.http2.engine.{module}")
]


def engine_class(name: str) -> Any:
    """The class of an engine."""
    module, attribute = _ALL[name]
    return getattr(importlib.import_module(f"uvicorn_worker.http2.engine.{module}"), attribute)


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


class Talk:
    """One HTTP/2 connection to an application behind a scripted transport."""

    def __init__(
        self, harness: Harness, *, settings: dict[int, int] | None = None, begin: bool = True, **transport: Any
    ) -> None:
        self.harness = harness
        self.wire = Client()
        self.connection = harness.connect(**transport)
        self.transport = self.connection.transport
        if begin:
            self.send(self.wire.preface(settings))

    def send(self, *pieces: bytes, each: int | None = None) -> Talk:
        """Let the server read this and work until it is quiet; read what it answers."""
        self.connection.send(b"".join(pieces), each=each)
        return self.pull()

    def pull(self) -> Talk:
        """Read what the server has written."""
        self.harness.settle()
        self.wire.receive(self.connection.take())
        return self

    def get(self, path: bytes = b"/", *fields: tuple[bytes, bytes], **more: Any) -> Stream:
        """A request without a body, and what the server has sent on its stream."""
        stream_id = self.wire.next_id
        self.send(self.wire.request(path, *fields, **more))
        return self.stream(stream_id)

    def post(self, body: bytes, path: bytes = b"/", *fields: tuple[bytes, bytes], **more: Any) -> Stream:
        stream_id = self.wire.next_id
        self.send(self.wire.post(body, path, *fields, **more))
        return self.stream(stream_id)

    def stream(self, stream_id: int = 1) -> Stream:
        return self.wire.streams.setdefault(stream_id, Stream())

    def tick(self, seconds: float) -> Talk:
        self.harness.tick(seconds)
        return self.pull()

    def stall(self) -> Talk:
        """The client does not read its socket any more."""
        self.connection.stall()
        return self

    def drain(self) -> Talk:
        """It reads again."""
        self.connection.drain()
        return self.pull()

    def each_protocol(self, name: str) -> Talk:
        """Call a method of the connection as the server does: drain, close_if_idle, abort."""
        for connection in list(self.harness.runtime.connections):
            self.harness.inside(getattr(connection, name))
        return self.pull()

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """Last stream and code of each GOAWAY."""
        return [(one.number, one.code) for one in self.wire.of(FrameType.GOAWAY)]

    @property
    def closed(self) -> bool:
        return self.connection.closed


Serve = Callable[..., Harness]
Converse = Callable[..., Talk]


@pytest.fixture
def serve(engine_name: str) -> Iterator[Serve]:
    """Start harnesses that speak HTTP/2: `serve(app, **options)`; they end with the test."""
    started: list[Harness] = []

    def start(app: ASGIApp, **options: Any) -> Harness:
        harness = Http2Harness(app, **{"http2": "on", "http2_engine": engine_name, **options})
        started.append(harness)
        return harness

    yield start
    for harness in started:
        harness.close()


@pytest.fixture
def talk(serve: Serve) -> Converse:
    """A connection to an application, preface sent: `talk(app, settings={...}, **options)`."""

    def start(app: ASGIApp, *, settings: dict[int, int] | None = None, **options: Any) -> Talk:
        return Talk(serve(app, **options), settings=settings)

    return start
