"""Files as bodies: http.response.pathsend and http.response.zerocopysend, behind a scripted transport.

There the kernel can't send, so that they are read in pieces, as with TLS. test_kernel_sending.py has sockets.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.files import SentBesideOthers, file_maker, pathsend
from tests.http1.apps import body, respond, start
from tests.http1.conftest import Connect
from tests.scripted import Client, get
from uvicorn_worker.core import files
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send
from uvicorn_worker.core.files import TURN_SIZE

SIZES = [0, 1, 16384, 16385, 131072, 131073, 1_000_000]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Path]:
    """Make a file of a size."""
    return file_maker(tmp_path)


def settle(client: Client, turns: int = 20_000) -> Client:
    """Let the requests come to their end, also where a thread reads for them; `turns` of a millisecond at most."""
    harness = client.harness
    for _ in range(turns):
        harness.settle()
        if not harness.runtime.cycles:
            break
        harness.loop.run_until_complete(asyncio.sleep(0.001))
    harness.settle()
    return client


class TestPathsend:
    """ASGI: "The ASGI server is responsible for sending the file at `path`", and the response ends with it."""

    @pytest.mark.parametrize("size", SIZES)
    def test_a_file_is_the_body(self, connect: Connect, make: Callable[[int], Path], size: int) -> None:
        path = make(size)
        client = settle(connect(respond(start(), pathsend(path))).send(get() + get()))
        first, second = client.responses()
        assert (first.body, first.framing) == (path.read_bytes(), "length")
        assert second == first

    def test_the_length_is_told_to_head(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = settle(connect(respond(start(), pathsend(make(50_000)))).send(get(method="HEAD")))
        assert (client.response("HEAD").get("content-length"), client.response("HEAD").body) == ("50000", b"")

    @pytest.mark.parametrize("status", [204, 304])
    def test_nothing_is_sent_where_there_is_no_body(
        self, connect: Connect, make: Callable[[int], Path], status: int
    ) -> None:
        response = connect(respond(start(status), pathsend(make(50_000)))).send(get()).response()
        assert (response.body, response.get("content-length")) == (b"", None)

    @pytest.mark.parametrize("size", [10, 50_000])
    @pytest.mark.parametrize("off", [-1, 1])
    def test_the_length_is_enforced(self, connect: Connect, make: Callable[[int], Path], size: int, off: int) -> None:
        """Before anything of the response has left."""
        length = [(b"content-length", b"%d" % (size + off))]
        assert connect(respond(start(headers=length), pathsend(make(size)))).send(get()).response().status == 500

    def test_behind_a_piece(self, connect: Connect, make: Callable[[int], Path]) -> None:
        path = make(50_000)
        client = settle(connect(respond(start(), body(b"head", more=True), pathsend(path))).send(get()))
        assert client.response().body == b"head" + path.read_bytes()
        assert client.response().framing == "chunked"

    def test_http10_gets_a_length(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = settle(connect(respond(start(), pathsend(make(50_000)))).send(get(version="1.0")))
        assert client.response().framing == "length"

    @pytest.mark.parametrize("name", ["missing", ".", "fifo", "nul\0"])
    def test_what_is_no_file_is_the_applications_error(
        self, connect: Connect, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Before the head has left, so that the client sees it."""
        os.mkfifo(tmp_path / "fifo")
        client = connect(respond(start(), pathsend(f"{tmp_path}/{name}"))).send(get())
        assert client.response().status == 500
        assert "ApplicationError" in caplog.text

    def test_it_may_answer_otherwise_then(self, connect: Connect, tmp_path: Path) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            try:
                await send(pathsend(tmp_path / "missing"))
            except RuntimeError:
                await send(body(b"sorry"))

        assert connect(app).send(get()).response().body == b"sorry"

    def test_no_descriptor_is_left(self, connect: Connect, make: Callable[[int], Path]) -> None:
        path = make(50_000)
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(3):
            settle(connect(respond(start(), pathsend(path))).send(get() + get()))
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        # An event loop has three, and is the harness's.
        assert after - before <= 3 * 3 + 1

    def test_before_the_head_is_out_of_order(self, connect: Connect, make: Callable[[int], Path]) -> None:
        assert connect(respond(pathsend(make(1)))).send(get()).response().status == 500

    def test_a_file_that_shrinks_cuts_the_connection(
        self, connect: Connect, make: Callable[[int], Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        path = make(1_000_000)
        client = connect(respond(start(), pathsend(path))).stall().send(get())
        os.truncate(path, 10)
        settle(client.drain())
        assert client.closed
        assert len(client.transport.output) < 1_000_000
        assert "has become shorter" in caplog.text

    def test_memory_is_bounded(self, connect: Connect, make: Callable[[int], Path]) -> None:
        """Not more of the file is read than the client takes."""
        path = make(1_000_000)
        client = settle(connect(respond(start(), pathsend(path))).stall().send(get()), 20)
        assert len(client.transport.output) <= 2 * files.PIECE_SIZE
        assert settle(client.drain()).response().body == path.read_bytes()

    def test_what_is_not_in_memory_is_read_by_a_thread(
        self, connect: Connect, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_NOWAIT", None)
        path = make(300_000)
        client = settle(connect(respond(start(), pathsend(path))).send(get()))
        assert client.response().body == path.read_bytes()

    def test_a_client_that_leaves_ends_it(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = connect(respond(start(), pathsend(make(1_000_000)))).stall().send(get())
        client.leave()
        settle(client)
        assert not client.harness.runtime.cycles

    def test_the_bytes_are_counted(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = connect(respond(start(), pathsend(make(300_000))))
        counted: list[int] = []
        client.harness.runtime.access = lambda cycle: counted.append(cycle.body_sent)
        settle(client.send(get() + get(method="HEAD")))
        assert counted == [300_000, 0]


def zerocopy(file: Any, **keys: Any) -> Event:
    return {"type": "http.response.zerocopysend", "file": file, **keys}


class TestZerocopysend:
    """ASGI: "offset: if this value exists, it will specify the offset at which sendfile starts to read data", "count:
    the number of bytes to copy"; without them from the current position of the file, and to its end.
    """

    def run(self, connect: Connect, path: Path, *messages: Callable[[Any], Event], raw: bool = False) -> Client:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            with path.open("rb") as file:
                await send(start())
                for message in messages:
                    await send(message(file.fileno() if raw else file))

        return settle(connect(app).send(get()))

    @pytest.mark.parametrize("raw", [False, True])
    @pytest.mark.parametrize("size", [0, 10, 300_000])
    def test_all_of_it(self, connect: Connect, make: Callable[[int], Path], size: int, raw: bool) -> None:
        path = make(size)
        client = self.run(connect, path, zerocopy, raw=raw)
        assert (client.response().body, client.response().framing) == (path.read_bytes(), "length")

    @pytest.mark.parametrize("count", [0, 7, 100_000])
    def test_a_part_of_it(self, connect: Connect, make: Callable[[int], Path], count: int) -> None:
        path = make(300_000)
        client = self.run(connect, path, lambda file: zerocopy(file, offset=1000, count=count))
        assert client.response().body == path.read_bytes()[1000 : 1000 + count]
        assert client.response().get("content-length") == str(count)

    @pytest.mark.parametrize("raw", [False, True])
    def test_parts_follow_each_other(self, connect: Connect, make: Callable[[int], Path], raw: bool) -> None:
        path = make(100_000)
        client = self.run(
            connect,
            path,
            lambda file: zerocopy(file, count=50_000, more_body=True),
            lambda file: body(b"between", more=True),
            lambda file: zerocopy(file, count=10, more_body=True),
            zerocopy,
            raw=raw,
        )
        data = path.read_bytes()
        assert client.response().body == data[:50_000] + b"between" + data[50_000:]
        assert client.response().framing == "chunked"

    def test_more_than_there_is(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = self.run(connect, make(10), lambda file: zerocopy(file, count=11))
        assert client.response().status == 500

    @pytest.mark.parametrize("keys", [{"offset": -1}, {"count": -1}, {"offset": "0"}, {"count": 1.0}])
    def test_numbers_are_checked(self, connect: Connect, make: Callable[[int], Path], keys: dict[str, Any]) -> None:
        client = self.run(connect, make(10), lambda file: zerocopy(file, **keys))
        assert client.response().status == 500

    def test_what_has_no_descriptor(self, connect: Connect, make: Callable[[int], Path]) -> None:
        client = self.run(connect, make(10), lambda file: zerocopy(object()))
        assert client.response().status == 500

    def test_one_that_is_given_up_cuts_the_connection(self, connect: Connect, make: Callable[[int], Path]) -> None:
        """What the application goes on to send is not taken for the rest of the file."""
        path = make(1_000_000)
        raised: list[BaseException] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            with path.open("rb") as file:
                sending = asyncio.ensure_future(send(zerocopy(file, more_body=True)))
                await asyncio.sleep(0)
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled()
            try:
                await send(body(b"that was all"))
            except OSError as exc:
                raised.append(exc)

        client = connect(app).stall().send(get() + get())
        settle(client.drain())
        assert client.closed
        assert len(raised) == 1
        assert b"that was all" not in client.transport.output

    def test_with_trailers(self, connect: Connect, make: Callable[[int], Path]) -> None:
        path = make(50_000)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({**start(headers=[(b"content-length", b"50004")]), "trailers": True})
            with path.open("rb") as file:
                await send(zerocopy(file, more_body=True))
            await send(body(b"last"))
            await send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})

        client = settle(connect(app).send(get("/", "TE: trailers")))
        output = client.transport.output
        assert path.read_bytes() in output
        assert output.endswith(b"4\r\nlast\r\n0\r\na: b\r\n\r\n")


def test_no_piece_comes_in_between(connect: Connect, make: Callable[[int], Path]) -> None:
    """A task that sends beside a file that is being sent is told so."""
    errors: list[BaseException] = []
    path = make(1_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def beside() -> None:
            try:
                await send(body(b"beside", more=True))
            except RuntimeError as exc:
                errors.append(exc)

        await send(start())
        await asyncio.gather(send(pathsend(path)), beside())

    client = connect(app).stall().send(get())
    settle(client.drain())
    assert client.response().body == path.read_bytes()
    assert len(errors) == 1


def test_others_get_their_turn_while_a_large_one_is_sent(connect: Connect, make: Callable[[int], Path]) -> None:
    """It is in memory, and the client takes all: nothing of it has to be waited for."""
    path = make(TURN_SIZE * 3 + 100)
    app = SentBesideOthers(path)
    client = connect(app)
    app.transport = client.transport
    settle(client.send(get()))
    assert client.response().body == path.read_bytes()
    assert 0 < app.most_in_a_turn() <= TURN_SIZE + 1000
