"""Messages, closes and denials, seen by the client of the websockets library."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.websocket.client import HANDSHAKE, PYTHONPATH, end, headers, open_socket, reset

Serve = Callable[..., Gunicorn]

NOISE = random.Random(1).randbytes(3_000_000)


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("socket_probe:app", *PYTHONPATH, worker=worker) as server:
        yield server


@pytest.mark.parametrize("compression", ["deflate", None])
class TestEcho:
    def test_messages_of_all_sizes(self, server: Gunicorn, compression: str | None) -> None:
        with open_socket(server, compression=compression) as client:
            assert ("permessage-deflate" in headers(client).get("Sec-WebSocket-Extensions", "")) == (
                compression == "deflate"
            )
            for size in (0, 1, 64, 125, 126, 1000, 65535, 65536, 3_000_000):
                client.send(NOISE[:size])
                assert client.recv(PATIENCE) == NOISE[:size]
                text = "é" * (size // 2)
                client.send(text)
                assert client.recv(PATIENCE) == text

    def test_many_in_flight(self, server: Gunicorn, compression: str | None) -> None:
        with open_socket(server, compression=compression) as client:
            for at in range(2000):
                client.send(f"message {at}")
            assert [client.recv(PATIENCE) for _ in range(2000)] == [f"message {at}" for at in range(2000)]

    def test_fragments(self, server: Gunicorn, compression: str | None) -> None:
        with open_socket(server, compression=compression) as client:
            client.send(["Käse ", "", "und ", "Brot"])
            assert client.recv(PATIENCE) == "Käse und Brot"
            client.send([NOISE[at : at + 1000] for at in range(0, 100_000, 1000)])
            assert client.recv(PATIENCE) == NOISE[:100_000]

    def test_many_clients(self, server: Gunicorn, compression: str | None) -> None:
        def talk(number: int) -> bool:
            with open_socket(server, compression=compression) as client:
                for at in range(20):
                    client.send(f"{number} {at}")
                    if client.recv(PATIENCE) != f"{number} {at}":
                        return False
            return True

        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(talk, range(40)))


def test_pings_of_the_client(server: Gunicorn) -> None:
    with open_socket(server) as client:
        assert client.ping(b"hello").wait(PATIENCE)
        client.send("a")
        assert client.recv(PATIENCE) == "a"


def test_http_on_the_same_port(server: Gunicorn) -> None:
    with open_socket(server) as client:
        assert server.get().text == "Hello, world!"
        client.send("a")
        assert client.recv(PATIENCE) == "a"


def test_subprotocol_and_headers(server: Gunicorn) -> None:
    with open_socket(server, "/subprotocol", subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "b"
        assert headers(client).get_all("x-one") == ["1", "2"]
        assert headers(client).get_all("Server") == ["uvicorn"]
        assert len(headers(client).get_all("Date")) == 1
        assert client.recv(PATIENCE) == "a b"


def test_the_client_closes(server: Gunicorn) -> None:
    before = len(server.events("disconnect"))
    with open_socket(server) as client:
        client.close(3456, "bye ✓")
        assert (client.close_code, client.close_reason) == (3456, "bye ✓")
    assert server.wait_events("disconnect", before + 1)[-1].detail == "3456 bye ✓"


def test_the_client_leaves_without_a_word(server: Gunicorn) -> None:
    before = len(server.events("disconnect"))
    with open_socket(server) as client:
        reset(client)
    assert server.wait_events("disconnect", before + 1)[-1].detail == "1006 "


def test_the_application_closes(server: Gunicorn) -> None:
    before = len(server.events("disconnect"))
    with open_socket(server, "/close?code=4567&reason=enough") as client:
        assert end(client) == (4567, "enough")
    assert server.wait_events("disconnect", before + 1)[-1].detail == "4567 enough"


def test_the_application_returns(server: Gunicorn) -> None:
    with open_socket(server, "/back") as client:
        assert end(client) == (1000, "")


def test_the_application_fails(server: Gunicorn) -> None:
    before = server.log.count("RuntimeError: the app went wrong")
    with open_socket(server, "/fail") as client:
        assert end(client) == (1011, "")
    server.wait_log("RuntimeError: the app went wrong")
    assert server.log.count("RuntimeError: the app went wrong") == before + 1
    assert server.get().status_code == 200


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/refuse", 403, b"Forbidden"),
        ("/deny", 401, b"who are you?"),
        ("/fail-early", 500, b"Internal Server Error"),
    ],
)
def test_a_denial(server: Gunicorn, target: str, status: int, body: bytes) -> None:
    with pytest.raises(InvalidStatus) as caught, open_socket(server, target):
        pass
    response = caught.value.response
    assert (response.status_code, response.body) == (status, body)


def test_the_connection_serves_on_after_a_denial(server: Gunicorn) -> None:
    with server.connect() as connection:
        connection.request("/deny", *HANDSHAKE)
        assert connection.response().body == b"who are you?"
        assert connection.get("/").body == b"Hello, world!"
        connection.request("/echo", *HANDSHAKE)
        assert connection.head().status == 101


def test_another_version(server: Gunicorn) -> None:
    with server.connect() as connection:
        connection.request("/echo", *HANDSHAKE[:-1], "Sec-WebSocket-Version: 8")
        response = connection.response()
        assert (response.status, response.headers["sec-websocket-version"]) == (426, "13")


def test_a_message_above_16_mib(server: Gunicorn) -> None:
    with open_socket(server, compression=None) as client:
        client.send(bytes(16 * 1024 * 1024))
        assert len(client.recv(PATIENCE)) == 16 * 1024 * 1024
        # The answer may come before all is sent.
        with suppress(ConnectionClosed):
            client.send([bytes(16 * 1024 * 1024), b"x"])
        code, _ = end(client) or (0, "")
        assert code == 1009


def test_a_client_that_does_not_read(serve: Serve, worker: str) -> None:
    server = serve("socket_probe:app", *PYTHONPATH, "--graceful-timeout", "1", worker=worker)
    with server.connect() as connection:
        connection.request("/push", *HANDSHAKE)
        blocked = int(server.wait_events("blocked")[0].detail)
        # What the kernel takes for a connection, and a message.
        assert blocked < 50_000_000


def test_an_application_that_does_not_read(serve: Serve, worker: str) -> None:
    server = serve("socket_probe:app", *PYTHONPATH, "--graceful-timeout", "1", worker=worker)
    with server.connect() as connection:
        connection.request("/deaf", *HANDSHAKE)
        assert connection.head().status == 101
        connection.socket.settimeout(1)
        sent = 0
        frame = b"\x82\xff" + (1_000_000).to_bytes(8, "big") + bytes(1_000_004)
        with suppress(TimeoutError):
            while sent < 200_000_000:
                connection.send(frame)
                sent += len(frame)
        assert sent < 50_000_000
    assert server.get().status_code == 200


def test_on_a_unix_socket(serve: Serve, worker: str) -> None:
    from websockets.sync.client import unix_connect

    server = serve("socket_probe:app", *PYTHONPATH, worker=worker, bind="unix:app.sock")
    with unix_connect(str(server.dir / "app.sock"), uri="ws://test/echo") as client:
        client.send("a")
        assert client.recv(PATIENCE) == "a"
