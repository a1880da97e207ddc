"""Files as bodies on HTTP/2: read in pieces, as the client's windows open."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.files import SentBesideOthers, file_maker, pathsend
from tests.http1.apps import Recorder, body, respond, start
from tests.http2.conftest import Converse
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.files import TURN_SIZE
from uvicorn_worker.http2.engine.codes import Setting


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Path]:
    """Make a file of a size."""
    return file_maker(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 50_000])
def test_a_file_is_the_body(talk: Converse, make: Callable[[int], Path], size: int) -> None:
    """ASGI: pathsend ends the response."""
    path = make(size)
    got = talk(respond(start(), pathsend(path))).get()
    assert (got.body, got.whole, got.get(b"content-length")) == (path.read_bytes(), True, str(size).encode())


def test_parts_and_pieces(talk: Converse, make: Callable[[int], Path]) -> None:
    """ASGI: zerocopysend "can be mixed with http.response.body"."""
    path = make(40_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**start(), "trailers": True})
        with path.open("rb") as file:
            await send({"type": "http.response.zerocopysend", "file": file, "count": 20_000, "more_body": True})
            await send(body(b"between", more=True))
            await send({"type": "http.response.zerocopysend", "file": file, "offset": 10, "count": 5})
        await send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})

    got = talk(app).get()
    data = path.read_bytes()
    assert got.body == data[:20_000] + b"between" + data[10:15]
    assert got.whole


@pytest.mark.parametrize("method", [b"HEAD"])
def test_its_length_is_told_to_head(talk: Converse, make: Callable[[int], Path], method: bytes) -> None:
    got = talk(respond(start(), pathsend(make(50_000)))).get(method=method)
    assert (got.body, got.get(b"content-length"), got.whole) == (b"", b"50000", True)


@pytest.mark.parametrize("length", [b"9", b"11"])
def test_the_length_is_enforced(talk: Converse, make: Callable[[int], Path], length: bytes) -> None:
    app = Recorder(respond(start(headers=[(b"content-length", length)]), pathsend(make(10))))
    assert talk(app).get().status == 500
    assert isinstance(app.raised[0], ApplicationError)


def test_what_is_no_file(talk: Converse, tmp_path: Path) -> None:
    app = Recorder(respond(start(), pathsend(tmp_path / "missing")))
    assert talk(app).get().status == 500
    assert "can't be opened" in str(app.raised[0])


@pytest.mark.parametrize("ended", [False, True])
def test_out_of_order(talk: Converse, make: Callable[[int], Path], ended: bool) -> None:
    before = [{**start(), "trailers": True}, body(b"x")] if ended else []
    app = Recorder(respond(*before, pathsend(make(10))))
    talk(app).get()
    assert isinstance(app.raised[0], ApplicationError)


def test_no_more_is_read_than_the_client_takes(talk: Converse, make: Callable[[int], Path]) -> None:
    path = make(1_000_000)
    app = Recorder(respond(start(), pathsend(path)))
    connection = talk(app)
    connection.get()
    assert len(connection.stream(1).body) == 65535
    for _ in range(20):
        connection.send(connection.wire.window(65536), connection.wire.window(65536, 1))
    assert connection.stream(1).body == path.read_bytes()
    assert connection.stream(1).whole


def test_a_file_that_shrinks_resets_the_stream(talk: Converse, make: Callable[[int], Path]) -> None:
    path = make(1_000_000)
    app = Recorder(respond(start(), pathsend(path)))
    connection = talk(app)
    connection.get()
    os.truncate(path, 10)
    for _ in range(2000):
        # A thread reads the file.
        connection.send(connection.wire.window(1000), connection.wire.window(1000, 1))
        if connection.stream(1).reset is not None:
            break
        time.sleep(0.001)
    assert connection.stream(1).reset == 2
    assert "has become shorter" in str(app.raised[0])


def test_others_get_their_turn_while_a_large_one_is_sent(talk: Converse, make: Callable[[int], Path]) -> None:
    """It is in memory, and the client takes all: nothing of it has to be waited for."""
    path = make(TURN_SIZE * 3 + 100)
    app = SentBesideOthers(path)
    connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
    app.transport = connection.transport
    connection.send(connection.wire.window(2**30))
    assert connection.get().body == path.read_bytes()
    assert 0 < app.most_in_a_turn() <= TURN_SIZE + 1000
