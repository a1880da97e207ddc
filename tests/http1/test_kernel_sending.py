"""Files that the kernel sends, over sockets, on both event loops; what is counted are the system calls."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import body, start
from tests.http1.conftest import Run
from tests.http1.real import Site, Visitor, serving, until
from tests.scripted import get, parse_responses
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1 import kernel_sending

SIZE = 8_000_000
CONTENT = os.urandom(100_000) * (SIZE // 100_000)

pytestmark = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="the system has no sendfile()")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


class Calls:
    """Counts sendfile(), and lets it fail."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.error: OSError | None = None

    def __call__(self, out: int, file: int, offset: int, count: int) -> int:
        if self.error is not None:
            raise self.error
        sent = os.sendfile(out, file, offset, count)
        self.sent.append(sent)
        return sent


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    counted = Calls()
    monkeypatch.setattr(kernel_sending, "_sendfile", counted)
    return counted


class App:
    """Sends a file; `before` is sent in pieces before it."""

    def __init__(self, path: Path, *, before: bytes = b"", headers: Any = ()) -> None:
        self.path = path
        self.before = before
        self.headers = headers
        self.errors: list[BaseException] = []
        self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=self.headers))
        try:
            if self.before:
                await send(body(self.before, more=True))
            await send({"type": "http.response.pathsend", "path": str(self.path)})
        except BaseException as exc:
            self.errors.append(exc)
            raise
        self.sent += 1


def cut(site: Site) -> bool:
    """Whether the server has let go of all connections and requests."""
    return not site.connections and not site.runtime.cycles


async def fetch(visitor: Visitor, count: int = 1) -> list[Any]:
    await visitor.send(get() * (count - 1) + get("/", "Connection: close"))
    return parse_responses(await visitor.rest(), ended=True)


def test_the_kernel_sends(run: Run, path: Path, calls: Calls) -> None:
    async def main() -> None:
        async with serving(App(path)) as site:
            with await site.connect() as visitor:
                (response,) = await fetch(visitor)
            assert (response.body == CONTENT, response.framing) == (True, "length")

    run(main())
    assert sum(calls.sent) == SIZE


def test_pipelined_and_in_order(run: Run, path: Path, calls: Calls) -> None:
    """What was written before leaves before, also where the client has not taken it."""
    before = b"b" * 3_000_000

    async def main() -> None:
        async with serving(App(path, before=before)) as site:
            with await site.connect() as visitor:
                responses = await fetch(visitor, 3)
            assert [response.body == before + CONTENT for response in responses] == [True] * 3

    run(main())
    assert sum(calls.sent) == 3 * SIZE


def test_a_client_that_does_not_read_is_waited_for(run: Run, path: Path, calls: Calls) -> None:
    """By the loop: what it reads first comes when all that fits was sent, and there were no calls in vain."""

    async def main() -> None:
        async with serving(App(path)) as site:
            with await site.connect(receive_buffer=4096) as visitor:
                await visitor.send(get("/", "Connection: close"))
                await until(lambda: calls.sent)
                for _ in range(20):
                    await asyncio.sleep(0)
                stuck = len(calls.sent)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(calls.sent) == stuck
                data = await visitor.rest()
        (response,) = parse_responses(data, ended=True)
        assert response.body == CONTENT

    run(main())
    assert sum(calls.sent) == SIZE


def test_one_that_takes_nothing_is_cut(run: Run, path: Path, calls: Calls) -> None:
    """timeout_write holds."""

    async def main() -> None:
        app = App(path)
        async with serving(app, timeout_write=5) as site:
            with await site.connect(receive_buffer=4096) as visitor:
                await visitor.send(get())
                await until(lambda: calls.sent)
                site.tick(12)
                await until(lambda: cut(site))
                with pytest.raises(ConnectionResetError):
                    await visitor.rest()

    run(main())


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_leaves_ends_it(run: Run, path: Path, calls: Calls, how: str) -> None:
    async def main() -> None:
        async with serving(App(path)) as site:
            visitor = await site.connect(receive_buffer=4096)
            await visitor.send(get())
            await until(lambda: calls.sent)
            if how == "resets":
                visitor.reset()
            else:
                visitor.sock.close()
            await until(lambda: cut(site))

    run(main())


def test_one_that_has_sent_more_and_leaves(run: Run, path: Path, calls: Calls) -> None:
    """Nothing is read of it meanwhile, so that only the sending sees that it is gone."""

    async def main() -> None:
        async with serving(App(path)) as site:
            visitor = await site.connect(receive_buffer=4096)
            await visitor.send(get() * 500)
            await until(lambda: calls.sent)
            visitor.reset()
            await until(lambda: cut(site))

    run(main())


def test_a_file_that_shrinks_cuts_the_connection(run: Run, path: Path, calls: Calls) -> None:
    async def main() -> None:
        app = App(path)
        async with serving(app) as site:
            with await site.connect(receive_buffer=4096) as visitor:
                await visitor.send(get())
                await until(lambda: calls.sent)
                os.truncate(path, 1000)
                data = await visitor.rest()
            assert len(data) < SIZE
            assert f"content-length: {SIZE}".encode() in data
            assert "has become shorter" in str(app.errors[0])

    run(main())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_kernel_can_not_it_is_read(run: Run, path: Path, calls: Calls, number: int) -> None:
    calls.error = OSError(number, "no")

    async def main() -> None:
        async with serving(App(path, before=b"first")) as site:
            with await site.connect() as visitor:
                (response,) = await fetch(visitor)
        assert response.body == b"first" + CONTENT

    run(main())


def test_a_file_that_can_not_be_read_cuts_the_connection(run: Run, path: Path, calls: Calls) -> None:
    calls.error = OSError(errno.EIO, "the disk is gone")

    async def main() -> None:
        app = App(path)
        async with serving(app) as site:
            with await site.connect() as visitor:
                await visitor.send(get())
                assert (await visitor.rest()).endswith(b"\r\n\r\n")
        assert "the disk is gone" in str(app.errors[0])

    run(main())


def test_it_may_be_off(run: Run, path: Path, calls: Calls) -> None:
    """Gunicorn's setting `sendfile`."""

    async def main() -> None:
        async with serving(App(path), sendfile=False) as site:
            with await site.connect() as visitor:
                (response,) = await fetch(visitor)
        assert response.body == CONTENT

    run(main())
    assert calls.sent == []


def test_a_small_file_leaves_with_its_head(run: Run, tmp_path: Path, calls: Calls) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"s" * 5000)

    async def main() -> None:
        async with serving(App(path)) as site:
            with await site.connect() as visitor:
                await visitor.send(get())
                data = await visitor.receive()
        assert data.endswith(b"\r\n\r\n" + b"s" * 5000)

    run(main())
    assert calls.sent == []


def test_over_tls_it_is_read(
    run: Run, path: Path, calls: Calls, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate

    async def main() -> None:
        async with serving(App(path), tls=server) as site:
            reader, writer = await asyncio.open_connection(*site.address, ssl=client, server_hostname="localhost")
            writer.write(get("/", "Connection: close"))
            data = await reader.read()
            writer.close()
        (response,) = parse_responses(data, ended=True)
        assert response.body == CONTENT

    run(main())
    assert calls.sent == []


def test_no_descriptor_is_left(run: Run, path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not tell")

    async def main() -> None:
        async with serving(App(path)) as site:
            counts = []
            for _ in range(3):
                visitor = await site.connect(receive_buffer=4096)
                await visitor.send(get())
                await visitor.receive()
                visitor.reset()
                await until(lambda: cut(site))
                counts.append(len(os.listdir("/proc/self/fd")))
            assert counts[0] == counts[-1]

    run(main())


def test_a_cancelled_application_leaves_nothing_behind(run: Run, path: Path, calls: Calls) -> None:
    async def main() -> None:
        async with serving(App(path)) as site:
            with await site.connect(receive_buffer=4096) as visitor:
                await visitor.send(get())
                await until(lambda: calls.sent)
                for cycle in list(site.runtime.cycles):
                    cycle.cancel()
                data = await visitor.rest()
                assert len(data) < SIZE

    run(main())


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "chunked"])
def test_one_that_is_given_up_cuts_the_connection(run: Run, path: Path, calls: Calls, length: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=[(b"content-length", b"%d" % SIZE)] if length else ()))
        if not length:
            # With an empty piece before it, the file is not the whole body. What comes right behind the head would be.
            await send(body(more=True))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.pathsend", "path": str(path)}), 0.05)
        with pytest.raises(OSError, match="client"):
            await send({"type": "http.response.pathsend", "path": str(path)})

    async def main() -> None:
        async with serving(app) as site:
            with await site.connect() as visitor:
                await visitor.send(get())
                await until(lambda: bool(calls.sent) and cut(site))
                head, _, content = (await visitor.rest()).partition(b"\r\n\r\n")
            if length:
                assert b"content-length: %d" % SIZE in head
            else:
                assert b"transfer-encoding: chunked" in head
                size, _, content = content.partition(b"\r\n")
                assert int(size, 16) == SIZE
            assert 0 < len(content) < SIZE
            assert CONTENT.startswith(content)

    run(main())
