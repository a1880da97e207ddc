"""The option `paths`, each of its members over HTTP/1.1, HTTP/2, and WebSocket on both; and what is counted apart."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection
from tests.e2e.websocket.client import HANDSHAKE
from tests.http2.wire import Client
from uvicorn_worker.board.board import find_boards
from uvicorn_worker.board.reading import read_board

CONF = """
from uvicorn_worker import UvicornH2CWorker

worker_class = UvicornH2CWorker.configure(
    metrics_bind="unix:metrics.sock",
    limit_request_body=1000,
    paths={
        "/quiet": {"access_log": False},
        "/slow": {"log_slow_requests": 0.3},
        "/up": {"limit_request_body": 5},
        "/up/more": {"limit_request_body": 100},
        "/quick": {"timeout_request": 0.4},
        "/body": {"timeout_request_body": 0.4},
        "/only-counted": {},
    },
)
bind = "127.0.0.1:0"
accesslog = "-"
"""

APP = """
import asyncio
from urllib.parse import parse_qs


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    query = parse_qs(scope["query_string"].decode())
    # Before it answers.
    await asyncio.sleep(float(query.get("wait", ["0"])[0]))
    if scope["type"] == "http":
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": int(query.get("status", ["200"])[0])})
        await send({"type": "http.response.body", "body": body})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""

PROTOCOLS = ["http/1.1", "http/2"]


@pytest.fixture(scope="module")
def server() -> Iterator[Gunicorn]:
    with Gunicorn(argv=["app:app"], files={"gunicorn.conf.py": CONF, "app.py": APP}) as server:
        server.wait_log("Ready in")
        yield server


class Http2:
    """One connection that speaks HTTP/2."""

    def __init__(self, server: Gunicorn) -> None:
        self.connection = server.connect()
        self.wire = Client()
        self.connection.send(self.wire.preface())

    def until_head(self) -> int:
        """Wait for the head of the answer; its status."""
        while not (stream := self.wire.streams.get(1)) or not stream.heads:
            self.read()
        return stream.status

    def read(self) -> None:
        data = self.connection.socket.recv(65536)
        assert data, "the connection has ended"
        self.wire.receive(data)


def ask(server: Gunicorn, protocol: str, target: str, body: bytes = b"", missing: int = 0) -> int:
    """The status of the answer to a request of which so many bytes of the body do not come."""
    method, length = ("POST", len(body) + missing) if body or missing else ("GET", 0)
    if protocol == "http/1.1":
        with server.connect() as connection:
            fields = [f"Content-Length: {length}"] if length else []
            connection.request(target, *fields, method=method)
            connection.send(body)
            return connection.response().status
    client = Http2(server)
    with client.connection as connection:
        wire = client.wire
        fields2 = [(b"content-length", b"%d" % length)] if length else []
        connection.send(wire.request(target.encode(), *fields2, method=method.encode(), end=not length))
        if length:
            connection.send(wire.data(1, body, end=not missing))
        return client.until_head()


class Socket:
    """A WebSocket on either protocol; `status` is that of the answer to its handshake."""

    def __init__(self, server: Gunicorn, protocol: str, target: str) -> None:
        self.core = Protocol(CLIENT, state=OPEN)
        self.http2: Http2 | None = None
        if protocol == "http/1.1":
            self.connection: Connection = server.connect()
            self.connection.request(target, *HANDSHAKE)
            self.status = self.connection.head().status
            return
        self.http2 = client = Http2(server)
        self.connection = client.connection
        pseudo = client.wire.request_fields(target.encode(), (b"sec-websocket-version", b"13"), method=b"CONNECT")
        self.connection.send(client.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False))
        self.status = client.until_head()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    @property
    def is_open(self) -> bool:
        return self.status == (101 if self.http2 is None else 200)

    def echo(self, text: str) -> str:
        """What comes back."""
        self.core.send_text(text.encode())
        data = b"".join(self.core.data_to_send())
        self.connection.send(data if self.http2 is None else self.http2.wire.data(1, data))
        seen = 0
        while True:
            for frame in self.core.events_received():
                if getattr(frame, "opcode", None) is Opcode.TEXT:
                    return bytes(frame.data).decode()  # type: ignore[union-attr]  # it is a frame
            if self.http2 is None:
                self.core.receive_data(self.connection.socket.recv(65536))
            else:
                body = self.http2.wire.streams[1].body
                if len(body) == seen:
                    self.http2.read()
                    body = self.http2.wire.streams[1].body
                self.core.receive_data(body[seen:])
                seen = len(body)


def last_line(server: Gunicorn, protocol: str) -> str:
    """Everything before it is in the access log: it is asked for now."""
    mark = f"/mark/{protocol.replace('/', '')}/{time.monotonic_ns()}"
    ask(server, protocol, mark)
    until(lambda: mark in server.out, "the access line")
    return mark


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_access_log(server: Gunicorn, protocol: str) -> None:
    name = protocol.replace("/", "").replace(".", "")
    for target in (f"/quiet/{name}", f"/loud/{name}"):
        assert ask(server, protocol, f"{target}/request") == 200
        with Socket(server, protocol, f"{target}/socket") as socket:
            assert socket.is_open
            assert socket.echo("hello") == "hello"
    last_line(server, protocol)
    assert f"/quiet/{name}" not in server.out
    assert f"/loud/{name}/request" in server.out
    assert f"/loud/{name}/socket" in server.out


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_log_slow_requests(server: Gunicorn, protocol: str) -> None:
    name = protocol.replace("/", "").replace(".", "")
    assert ask(server, protocol, f"/other/{name}?wait=1.2") == 200
    assert ask(server, protocol, f"/slow/{name}/request?wait=1.2") == 200
    with Socket(server, protocol, f"/slow/{name}/socket?wait=1.2") as socket:
        assert socket.is_open
        # However long it is open: a WebSocket may last.
        assert socket.echo("hello") == "hello"
    for kind, status in (("request", 200), ("socket", 101 if protocol == "http/1.1" else 200)):
        target = rf"/slow/{name}/{kind}\?wait=1\.2"
        server.wait_log(rf"Slow request: \w+ {target} for .*\n  app\.py:\d+ in app")
        server.wait_log(rf"Slow request, at its end \(answered {status}\): \w+ {target} for ")
    assert f"/other/{name}" not in server.log


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_limit_request_body(server: Gunicorn, protocol: str) -> None:
    assert ask(server, protocol, "/", b"x" * 10) == 200
    assert ask(server, protocol, "/", b"x" * 1001) == 413
    assert ask(server, protocol, "/up", b"x" * 10) == 413
    assert ask(server, protocol, "/up/more", b"x" * 10) == 200
    # Messages are no body.
    with Socket(server, protocol, "/up") as socket:
        assert socket.is_open
        assert socket.echo("longer than that") == "longer than that"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_timeout_request(server: Gunicorn, protocol: str) -> None:
    with Socket(server, protocol, "/quick") as socket:
        assert socket.is_open
        assert ask(server, protocol, "/?wait=1.5") == 200
        assert ask(server, protocol, "/quick?wait=600") == 504
        with Socket(server, protocol, "/quick?wait=600") as late:
            assert late.status == 504
        # It is open for longer than that already.
        assert socket.echo("hello") == "hello"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_timeout_request_body(server: Gunicorn, protocol: str) -> None:
    with Socket(server, protocol, "/body") as socket:
        assert socket.is_open
        assert ask(server, protocol, "/body", b"x", missing=5) == 408
        # A WebSocket that says nothing has no body that is waited for.
        assert socket.echo("hello") == "hello"


def scrape(server: Gunicorn) -> dict[str, float]:
    """What is counted apart, by name and labels as they stand in the exposition."""
    transport = httpx.HTTPTransport(uds=str(server.dir / "metrics.sock"))
    with httpx.Client(transport=transport, base_url="http://metrics", timeout=PATIENCE, trust_env=False) as client:
        text = client.get("/metrics").text
    return {
        name: float(value) for name, value in re.findall(r"^uvicorn_worker_location_(\S+) (\S+)$", text, re.MULTILINE)
    }


def test_each_is_counted_apart(server: Gunicorn) -> None:
    """What was asked for in this test, by the difference."""
    [board] = find_boards(server.pid)

    def counts() -> dict[str, Any]:
        return {**read_board(board).paths["/only-counted"]}

    before = counts()
    for protocol in PROTOCOLS:
        assert ask(server, protocol, "/only-counted") == 200
        assert ask(server, protocol, "/only-counted/below?status=404") == 404
        assert ask(server, protocol, "/only-counted", b"x" * 1001) == 413
        with Socket(server, protocol, "/only-counted") as socket:
            assert socket.is_open
    # A 200 of each, and that of the WebSocket over HTTP/2.
    expected = {"1xx": 1, "2xx": 3, "3xx": 0, "4xx": 4, "5xx": 0}

    def grown() -> dict[str, int]:
        now = counts()
        return {name: now[name] - before[name] for name in expected}

    until(lambda: sum(grown().values()) >= 8, "eight responses")
    assert grown() == expected
    found = scrape(server)
    assert found['responses_total{path="/only-counted",status="4xx"}'] == counts()["4xx"]
    assert found['request_duration_seconds_count{path="/only-counted"}'] == sum(
        number for name, number in counts().items() if name.startswith("took_")
    )
    assert set(read_board(board).paths) == {
        "/quiet", "/slow", "/up", "/up/more", "/quick", "/body", "/only-counted",
    }  # fmt: skip
