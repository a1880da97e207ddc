"""Many requests in many threads at once: each is answered whole and once, with the GIL and without."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest

from tests.interfaces.asgi_side import Client, http_scope
from tests.sockets import Run
from uvicorn_worker.interfaces import WsgiAdapter

REQUESTS = 300
AT_ONCE = 24
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize("threads", [2, 8])
def test_nothing_is_lost_and_nothing_twice(run: Run, threads: int) -> None:
    calls: Counter[str] = Counter()

    def app(environ: Any, start_response: Any) -> Any:
        number = environ["PATH_INFO"][1:]
        calls[number] += 1
        start_response("200 OK", [("X-Number", number)])
        # Each block of the body is asked for, and more than a window of them is waited for.
        yield from iter(lambda: environ["wsgi.input"].read(1000), b"")
        for each in range(int(number) % 9):
            yield f"{number}:{each};".encode() * 2000

    def expected(number: int, body: list[bytes]) -> bytes:
        return b"".join(body) + b"".join(f"{number}:{each};".encode() * 2000 for each in range(number % 9))

    async def main() -> None:
        adapter = WsgiAdapter(app, threads)
        numbers = itertools.count()

        async def visit() -> None:
            while (number := next(numbers)) < REQUESTS:
                body = [f"{number}-{each} ".encode() * 300 for each in range(number % 7)]
                client = Client(*body, b"")
                scope = http_scope(CHUNKED, path=f"/{number}", raw_path=b"/%d" % number, method="POST")
                await adapter(scope, client.receive, client.send)
                reply = client.reply
                assert reply.complete
                assert reply.headers == [(b"x-number", b"%d" % number)]
                assert reply.body == expected(number, body)
                assert sum(not event.get("more_body", False) for event in client.sent[1:]) == 1

        await asyncio.gather(*(visit() for _ in range(AT_ONCE)))

    run(main())
    assert calls == Counter({str(number): 1 for number in range(REQUESTS)})
