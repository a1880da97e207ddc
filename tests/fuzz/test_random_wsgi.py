"""WSGI at random, beside wsgiref: what the client and the application see is the same.

One application is made of random steps: start_response() late, again, with exc_info; write(); blocks of a list, a
generator or a file; reading by read(), readline(), readlines() and iteration; errors at any point. wsgiref's handler
runs it as the reference, our adapter over a body that comes in random pieces, for a client that may be slow.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import sys
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from tests.interfaces.asgi_side import Client, http_scope, run
from uvicorn_worker.interfaces import WsgiAdapter
from uvicorn_worker.interfaces.streams import FileWrapper

ROUNDS = [range(300), pytest.param(range(300, 10_000), marks=pytest.mark.long)]

BODIES = [0, 1, 50, 5000, 70_000, 200_000]
BLOCKS = [0, 0, 1, 30, 5000, 70_000]
READS = ["read", "some", "line", "short line", "lines", "iterate", "more"]
SHAPES = ["list", "tuple", "generator", "generator", "iterator", "file", "memory"]


class Planned(Exception):
    """What the application raises."""


class Blocks:
    """An iterable with a close()."""

    def __init__(self, blocks: list[bytes], seen: list[Any]) -> None:
        self._blocks = iter(blocks)
        self._seen = seen

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> bytes:
        return next(self._blocks)

    def close(self) -> None:
        self._seen.append("closed")


class Plan:
    """An application, and what the request is."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.body = rng.randbytes(8) * (rng.choice(BODIES) // 8) + b"\nline\n" * rng.choice([0, 0, 3])
        self.sized = rng.random() < 0.6
        self.cuts = sorted(rng.randrange(len(self.body) + 1) for _ in range(rng.choice([0, 1, 5])))
        self.reads = [rng.choice(READS) for _ in range(rng.choice([0, 1, 2, 4]))]
        self.size = rng.choice([0, 1, 10, 4096, 100_000])
        self.blocks = [b"%d:" % number * (rng.choice(BLOCKS) // 2) for number in range(rng.choice([0, 1, 1, 2, 5]))]
        self.written = [b"w%d" % number * rng.choice([1, 40_000]) for number in range(rng.choice([0, 0, 0, 1, 3]))]
        self.shape = rng.choice(SHAPES)
        self.late = self.shape == "generator" and rng.random() < 0.3 and not self.written
        self.again = rng.choice(["", "", "", "", "before"])
        self.fails = rng.choice(["", "", "", "", "", "at once", "started", "within"])
        self.status = rng.choice(["200 OK", "404 Not Found", "500 Own", "299 "])
        # Whether wsgiref looks at both sides, too; it wants a size of each read().
        self.checked = rng.random() < 0.3 and bool(self.blocks) and self.shape == "list" and "read" not in self.reads
        # Whether the client takes a turn of the loop for each piece.
        self.slow = rng.random() < 0.3
        self.told = rng.random() < 0.5
        if self.fails == "within" and len(self.blocks) > 1 and not self.blocks[0]:
            # wsgiref sends the head for an empty block, too; by PEP 3333 it waits for one that is not.
            self.blocks[0] = b"first"

    @property
    def pieces(self) -> list[bytes]:
        cuts = [0, *self.cuts, len(self.body)]
        return [self.body[start:end] for start, end in itertools.pairwise(cuts)]

    def application(self, seen: list[Any]) -> Any:
        """The application, which notes in `seen` what it meets."""

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            seen.extend((how, self._read(environ["wsgi.input"], how)) for how in self.reads)
            if self.fails == "at once":
                raise Planned
            if self.late:
                return self._generate(seen, lambda: self._start(start_response, seen))
            write = self._start(start_response, seen)
            for data in self.written:
                write(data)
            if self.fails == "started":
                raise Planned
            if self.shape in ("list", "tuple"):
                return self.blocks if self.shape == "list" else tuple(self.blocks)
            if self.shape == "iterator":
                return Blocks(self.blocks, seen)
            if self.shape == "file":
                return environ.get("wsgi.file_wrapper", FileWrapper)(io.BytesIO(b"".join(self.blocks)), 100)
            if self.shape == "memory":
                return map(bytes, self.blocks)
            return self._generate(seen, None)

        return validator(app) if self.checked else app

    def _read(self, stream: Any, how: str) -> Any:
        if how == "read":
            return stream.read()
        if how == "some":
            return stream.read(self.size)
        if how == "line":
            return stream.readline()
        if how == "short line":
            return stream.readline(3)
        if how == "lines":
            return stream.readlines()
        if how == "iterate":
            return list(stream)
        return [stream.read(1), stream.read(self.size), stream.readline()]

    def _start(self, start_response: Any, seen: list[Any]) -> Any:
        total = sum(map(len, [*self.written, *self.blocks]))
        headers = [("Content-Type", "text/plain"), ("X-Own", "1")]
        if self.told and self.again != "before" and not self.fails:
            headers.append(("Content-Length", str(total)))
        write = start_response(self.status, headers)
        if self.again == "before":
            try:
                raise Planned
            except Planned:
                write = start_response("503 Again", [("X-Own", "2"), ("Content-Type", "text/plain")], sys.exc_info())
        return write

    def _generate(self, seen: list[Any], start: Any) -> Any:
        try:
            if start is not None:
                start()
            for number, block in enumerate(self.blocks):
                if self.fails == "within" and number == 1:
                    raise Planned
                yield block
        finally:
            seen.append("ended")


class Reference(SimpleHandler):
    """wsgiref's, which raises what the application raises before it has sent anything."""

    http_version = "1.1"
    failed = False

    def log_exception(self, exc_info: Any) -> None:
        self.failed = True

    def error_output(self, environ: Any, start_response: Any) -> Any:
        start_response("500 Reference", [], sys.exc_info())
        return []


def by_reference(plan: Plan) -> tuple[Any, ...]:
    seen: list[Any] = []
    out = io.BytesIO()
    environ = {
        "REQUEST_METHOD": "POST",
        "SERVER_NAME": "a",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
    }
    handler = Reference(io.BytesIO(plan.body), out, io.StringIO(), environ)
    handler.run(plan.application(seen))
    head, _, body = out.getvalue().partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    own = next((number for number in (1, 2) if b"X-Own: %d" % number in head), 0)
    return seen, status, own, body, handler.failed


class SlowClient(Client):
    """Takes each piece a turn of the loop later."""

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        await super().send(message)


def by_adapter(plan: Plan) -> tuple[Any, ...]:
    seen: list[Any] = []
    fields = [(b"content-length", b"%d" % len(plan.body))] if plan.sized else [(b"transfer-encoding", b"chunked")]
    client = (SlowClient if plan.slow else Client)(*plan.pieces)
    failed = False

    async def main() -> None:
        await WsgiAdapter(plan.application(seen), threads=2)(
            http_scope(*fields, method="POST"), client.receive, client.send
        )

    try:
        run(main())
    except Planned:
        failed = True
    if not client.sent:
        return seen, 500, 0, b"", failed
    reply = client.reply
    own = int(dict(reply.headers).get(b"x-own", b"0"))
    assert reply.complete or failed
    return seen, reply.status, own, reply.body, failed


@pytest.mark.parametrize("seeds", ROUNDS, ids=str)
def test_as_wsgiref(seeds: range) -> None:
    for seed in seeds:
        plan = Plan(seed)
        expected, found = by_reference(plan), by_adapter(plan)
        assert found == expected, f"seed {seed}: {vars(plan)}"
