"""wsgi.file_wrapper over sockets: what the kernel sends is counted by its system calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http1.real import serving, until
from tests.scripted import get, parse_responses
from uvicorn_worker.http1 import kernel_sending
from uvicorn_worker.interfaces import WsgiAdapter

SIZE = 4_000_000
CONTENT = os.urandom(100_000) * (SIZE // 100_000)

Run = Callable[[Coroutine[Any, Any, Any]], Any]

pytestmark = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="the system has no sendfile()")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    loop = pytest.importorskip("uvloop").new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 30))
    loop.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much each sendfile() has sent."""
    sent: list[int] = []

    def counted(out: int, file: int, offset: int, count: int) -> int:
        number = os.sendfile(out, file, offset, count)
        sent.append(number)
        return number

    monkeypatch.setattr(kernel_sending, "_sendfile", counted)
    return sent


class App:
    """Responds with a file, and holds it."""

    def __init__(self, path: Path, *headers: tuple[str, str]) -> None:
        self.path = path
        self.headers = list(headers)
        self.file: Any = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.file = self.path.open("rb")
        start_response("200 OK", self.headers)
        return environ["wsgi.file_wrapper"](self.file)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def test_the_kernel_sends(run: Run, path: Path, calls: list[int]) -> None:
    app = App(path)

    async def main() -> Any:
        async with serving(WsgiAdapter(app)) as site:
            with await site.connect() as visitor:
                await visitor.send(get() + get(method="HEAD") + get("/", "Connection: close"))
                responses = parse_responses(await visitor.rest(), ["GET", "HEAD", "GET"], ended=True)
                # By the application's thread, which goes on when all has been sent.
                await until(lambda: app.file.closed)
                return responses

    first, head, second = run(main())
    assert first.body == second.body == CONTENT
    # "if it is possible to determine the length": PEP 3333 lets the server tell it.
    assert {each.get("content-length") for each in (first, head, second)} == {str(SIZE)}
    assert sum(calls) == 2 * SIZE


def test_a_client_that_does_not_read_is_waited_for(run: Run, path: Path, calls: list[int]) -> None:
    app = App(path)

    async def main() -> Any:
        async with serving(WsgiAdapter(app)) as site:
            with await site.connect(receive_buffer=4096) as visitor:
                await visitor.send(get("/", "Connection: close"))
                await until(lambda: calls)
                for _ in range(20):
                    await asyncio.sleep(0)
                stuck = sum(calls)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert sum(calls) == stuck < SIZE
                assert not app.file.closed
                return parse_responses(await visitor.rest(), ended=True)

    (response,) = run(main())
    assert response.body == CONTENT
    assert sum(calls) == SIZE


def test_one_that_leaves_ends_it(run: Run, path: Path, calls: list[int]) -> None:
    app = App(path)

    async def main() -> None:
        async with serving(WsgiAdapter(app)) as site:
            visitor = await site.connect(receive_buffer=4096)
            await visitor.send(get())
            await until(lambda: calls)
            visitor.reset()
            await until(lambda: app.file.closed and not site.runtime.cycles)

    run(main())


def test_it_may_be_off(run: Run, path: Path, calls: list[int]) -> None:
    """Gunicorn's setting `sendfile`."""

    async def main() -> Any:
        async with serving(WsgiAdapter(App(path)), sendfile=False) as site:
            with await site.connect() as visitor:
                await visitor.send(get("/", "Connection: close"))
                return parse_responses(await visitor.rest(), ended=True)

    (response,) = run(main())
    assert (response.body, calls) == (CONTENT, [])


@pytest.mark.parametrize("length", [SIZE + 1, SIZE - 1])
def test_its_length(run: Run, path: Path, calls: list[int], length: int) -> None:
    """Of a file that has less than was told nothing is sent, and the connection is cut; what is more is not sent."""

    async def main() -> Any:
        async with serving(WsgiAdapter(App(path, ("Content-Length", str(length))))) as site:
            with await site.connect() as visitor:
                await visitor.send(get("/", "Connection: close"))
                return parse_responses(await visitor.rest(), ended=True)

    (response,) = run(main())
    expected = length if length < SIZE else 0
    assert response.body == CONTENT[:expected]
    assert (response.complete, sum(calls)) == (length < SIZE, expected)
