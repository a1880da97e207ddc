"""wsgi.file_wrapper: a file is the server's to send where it can, and read in blocks elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interfaces.asgi_side import Client, http_scope, run, until
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.interfaces import WsgiAdapter
from uvicorn_worker.interfaces.streams import FileWrapper

SIZE = 100_000
CONTENT = os.urandom(SIZE)
EXTENSION: dict[str, Any] = {"http.response.zerocopysend": {}}

Opened = Callable[[], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


class Sender(Client):
    """A client of a server that sends files; it takes a file when `taking` is set."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.taking = asyncio.Event()
        self.taking.set()
        self.body = b""

    async def send(self, message: Any) -> None:
        await super().send(message)
        self.body += message.get("body", b"")
        if message["type"] == "http.response.zerocopysend":
            await self.taking.wait()
            if self.gone:
                raise ClientDisconnected("the client left")
            self.body += os.pread(message["file"], message["count"], message["offset"])

    @property
    def files(self) -> list[tuple[int, int]]:
        """Where each part of a file that was to be sent began, and its size."""
        sent = [message for message in self.sent if message["type"] == "http.response.zerocopysend"]
        return [(message["offset"], message["count"]) for message in sent]


def wrapping(file: Any, *headers: tuple[str, str], before: bytes = b"") -> Any:
    """An application whose response is a file."""

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", list(headers))
        if before:
            write(before)
        return environ["wsgi.file_wrapper"](file, 1000)

    return app


def ask(app: Any, extensions: Any = EXTENSION) -> Sender:
    async def main() -> Sender:
        sender = Sender()
        await WsgiAdapter(app)(http_scope(extensions=extensions), sender.receive, sender.send)
        return sender

    return run(main())


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("at", [0, 10])
def test_a_file_is_sent_from_where_it_stands(path: Path, buffering: int, at: int) -> None:
    file = path.open("rb", buffering=buffering)
    file.read(at)
    got = ask(wrapping(file))
    assert got.files == [(at, SIZE - at)]
    assert got.body == CONTENT[at:]
    assert file.closed


def test_behind_what_was_written(path: Path) -> None:
    got = ask(wrapping(path.open("rb"), ("Content-Length", str(SIZE + 5)), before=b"first"))
    assert (got.files, got.body) == ([(0, SIZE)], b"first" + CONTENT)


@pytest.mark.parametrize("extensions", [EXTENSION, None, {}])
@pytest.mark.parametrize("length", [80_000, 70_000, 10])
def test_it_ends_with_its_length(path: Path, length: int, extensions: Any) -> None:
    """PEP 3333: "or until Content-Length bytes have been written"."""
    got = ask(wrapping(path.open("rb"), ("Content-Length", str(length))), extensions)
    assert got.body == CONTENT[:length]
    assert got.files == ([(0, length)] if extensions and length > 65536 else [])
    assert not got.sent[-1].get("more_body", False)


def others(path: Path) -> dict[str, Opened]:
    """Files that are read in blocks."""

    def pipe() -> Any:
        reader, writer = os.pipe()
        os.write(writer, b"piped")
        os.close(writer)
        return os.fdopen(reader, "rb")

    def compressed() -> Any:
        path.write_bytes(gzip.compress(CONTENT))
        return gzip.open(path)

    def small() -> Any:
        os.truncate(path, 50_000)
        return path.open("rb")

    def both_ways() -> Any:
        # What it has written may not be in the file yet.
        return path.open("r+b")

    return {
        "memory": lambda: io.BytesIO(CONTENT),
        "pipe": pipe,
        "compressed": compressed,
        "small": small,
        "both ways": both_ways,
    }


@pytest.mark.parametrize("kind", ["memory", "pipe", "compressed", "small", "both ways"])
def test_what_is_read_in_blocks(path: Path, kind: str) -> None:
    got = ask(wrapping(others(path)[kind]()))
    assert got.files == []
    assert got.body == {"pipe": b"piped", "small": CONTENT[:50_000]}.get(kind, CONTENT)


@pytest.mark.parametrize("kind", ["closed", "detached", "write only"])
def test_what_can_not_be_sent_at_all(path: Path, kind: str) -> None:
    file: Any = path.open("ab", buffering=0) if kind == "write only" else path.open("rb")
    if kind != "write only":
        (file.detach() if kind == "detached" else file).close()
    assert FileWrapper(file).part() is None
    if kind == "write only":
        file.close()


def test_without_a_status(path: Path) -> None:
    file = path.open("rb")
    with pytest.raises(ApplicationError, match="did not call start_response"):
        ask(lambda environ, start_response: environ["wsgi.file_wrapper"](file))
    assert file.closed


async def half_sent(file: Any) -> tuple[Sender, asyncio.Future[None]]:
    """A request whose file has been given to a server that does not take it yet."""
    sender = Sender()
    sender.taking.clear()
    adapter = WsgiAdapter(wrapping(file))
    request = asyncio.ensure_future(adapter(http_scope(extensions=EXTENSION), sender.receive, sender.send))
    await until(lambda: sender.files)
    return sender, request


def test_it_is_closed_when_it_is_sent(path: Path) -> None:
    file = path.open("rb")

    async def main() -> None:
        sender, request = await half_sent(file)
        assert not file.closed
        sender.taking.set()
        await request
        assert (sender.body, file.closed) == (CONTENT, True)

    run(main())


@pytest.mark.parametrize("how", ["leaves", "cancelled"])
def test_it_is_closed_when_the_client_is_gone(path: Path, how: str) -> None:
    file = path.open("rb")

    async def main() -> None:
        sender, request = await half_sent(file)
        if how == "leaves":
            sender.gone = True
            sender.taking.set()
        else:
            request.cancel()
        with pytest.raises(ClientDisconnected if how == "leaves" else asyncio.CancelledError):
            await request
        await until(lambda: file.closed)

    run(main())
