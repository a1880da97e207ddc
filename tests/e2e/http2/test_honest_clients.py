"""What honest clients do to their connections, which defences must not take for a flood.

gRPC streams of small messages, event streams that share a connection of HAProxy's, calls that are cancelled, a browser
that reloads. HONEST_SECONDS makes the streams go on for longer.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.frontends import haproxy, nginx
from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.http2.reloading import reload_fetches, reload_images
from tests.e2e.http2.test_fronts import HAPROXY
from tests.e2e.http2.test_grpc import NGINX, channel
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.http2.wire import Client
from uvicorn_worker.http2.engine.codes import ACK, FrameType

pytestmark = pytest.mark.long

# Where Debian has the sources of packages of Go.
GO_SOURCES = Path("/usr/share/gocode")
SECONDS = float(os.environ.get("HONEST_SECONDS", "0"))


def ping_pong(opened: Any, count: int, size: int = 50) -> int:
    """How many messages have come back, each sent when the one before had."""
    answers: queue.Queue[bytes | None] = queue.Queue()

    def messages() -> Iterator[bytes]:
        for number in range(count):
            yield number.to_bytes(4, "big") * (size // 4)
            assert answers.get(timeout=PATIENCE) is not None

    back = 0
    for message in opened.stream_stream("/echo.Echo/Talk")(messages(), timeout=PATIENCE * 3 + SECONDS):
        back += 1
        answers.put(message)
    return back


class TestGrpc:
    def test_small_messages_both_ways(self, server: Gunicorn) -> None:
        with channel(f"127.0.0.1:{server.port}") as opened:
            assert ping_pong(opened, 3000) == 3000

    def test_behind_nginx(self, server: Gunicorn) -> None:
        with nginx(server.dir, NGINX, port=server.port), channel(f"unix:{server.dir}/front.sock") as opened:
            assert ping_pong(opened, 3000) == 3000

    def test_calls_that_are_cancelled_do_not_harm_a_neighbour(self, server: Gunicorn) -> None:
        """Three thousand within seconds, on one connection, whose applications would all go on for five seconds."""
        with channel(f"127.0.0.1:{server.port}") as opened:
            stubborn = opened.unary_unary("/echo.Echo/Stubborn")
            answers: queue.Queue[bytes | None] = queue.Queue()
            neighbour = opened.stream_stream("/echo.Echo/Talk")(iter(answers.get, None), timeout=PATIENCE * 3)
            answers.put(b"before")
            assert next(neighbour) == b"before"
            for _ in range(60):
                calls = [stubborn.future(b"x", timeout=PATIENCE) for _ in range(50)]
                answers.put(b"between")
                assert next(neighbour) == b"between"
                for call in calls:
                    call.cancel()
            assert opened.unary_unary("/echo.Echo/Unary")(b"hello", timeout=PATIENCE) == b"hello"
            answers.put(b"after")
            assert next(neighbour) == b"after"
            answers.put(None)
            assert list(neighbour) == []

    def test_a_client_that_measures(self, server: Gunicorn) -> None:
        """As grpc-go does: WINDOW_UPDATE for stream and connection, and a PING, to each DATA frame."""
        client = Client()
        count = 3000
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.sendall(client.preface() + client.request(b"/echo.Echo/Talk", end=False, method=b"POST"))
            message = bytes([0, 0, 0, 0, 50]) + bytes(50)
            connection.sendall(client.data(1, message))
            back = 0
            while back < count:
                data = connection.recv(65536)
                assert data, f"cut after {back} messages"
                sent = []
                for frame in client.receive(data):
                    if frame.kind == FrameType.DATA:
                        back += 1
                        sent += [client.window(55), client.window(55, 1), client.ping(), client.data(1, message)]
                    elif frame.kind == FrameType.PING and not frame.flags & ACK:
                        sent.append(client.ping(frame.payload, ACK))
                connection.sendall(b"".join(sent))


@pytest.fixture(scope="module")
def grpc_go(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client in grpc_go/, built with what Debian has: golang-go and golang-google-grpc-dev."""
    go = shutil.which("go")
    if go is None or not (GO_SOURCES / "src/google.golang.org/grpc").is_dir():
        pytest.skip("no Go, or no grpc-go")
    folder = tmp_path_factory.mktemp("grpc_go")
    path = folder / "client"
    environment = {**os.environ, "GOPATH": str(GO_SOURCES), "GO111MODULE": "off", "GOCACHE": str(folder / "cache")}
    source = Path(__file__).with_name("grpc_go")
    subprocess.run([go, "build", "-o", str(path), "."], cwd=source, env=environment, check=True, timeout=PATIENCE * 5)
    return str(path)


def test_grpc_go(server: Gunicorn, grpc_go: str) -> None:
    """Streams of small messages, calls that are given up after two milliseconds, and one call more: one connection."""
    command = [grpc_go, f"127.0.0.1:{server.port}", "4", "3000", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE * 3)
    assert (done.returncode, done.stdout) == (0, "12000 500 after\n"), done.stderr


def test_event_streams_on_one_connection(server: Gunicorn) -> None:
    """Twelve of them, of small events; HAProxy opens its windows for each."""
    count, pause = (int(SECONDS * 50), 20) if SECONDS else (1500, 2)
    url = f"http://localhost/tokens?{count},{pause}"
    read: list[int] = []

    def listen() -> None:
        transport = httpx.HTTPTransport(uds=str(server.dir / "front.sock"))
        with httpx.Client(transport=transport, timeout=PATIENCE) as client, client.stream("GET", url) as response:
            read.append(sum(line.startswith("data:") for line in response.iter_lines()))

    with haproxy(server.dir, HAPROXY, port=server.port):
        threads = [threading.Thread(target=listen) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 3 + 2 * SECONDS)
    assert read == [count] * 12


def test_users_who_leave(server: Gunicorn) -> None:
    """HAProxy with abortonclose: a few hundred leave what takes long, others on the same connection are answered."""
    config = HAPROXY.replace("http-reuse always", "http-reuse always\n    option abortonclose")
    assert "abortonclose" in config
    head = b"GET /stubborn HTTP/1.1\r\nhost: x\r\n\r\n"
    front = str(server.dir / "front.sock")
    with (
        haproxy(server.dir, config, port=server.port),
        httpx.Client(transport=httpx.HTTPTransport(uds=front), base_url="http://x", timeout=PATIENCE) as client,
    ):
        for _ in range(10):
            leaving = []
            for _ in range(40):
                one = socket.socket(socket.AF_UNIX)
                one.connect(front)
                one.sendall(head)
                leaving.append(one)
            assert [client.get("/").status_code for _ in range(5)] == [200] * 5
            for one in leaving:
                one.close()
        assert [client.get("/").status_code for _ in range(50)] == [200] * 50


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_a_browser_that_reloads(tls_server: Gunicorn) -> None:
    """Two hundred images that were begun are left ten times; then they are all waited for. So are fetches."""
    url = f"https://localhost:{tls_server.port}"
    with open_page("--ignore-certificate-errors") as page:
        page.watch_failures()
        reload_images(page, url, "images", 10)
        reload_fetches(page, "fetches", 10)
        assert page.failures == []
    assert "ENHANCE_YOUR_CALM" not in tls_server.log
