"""Starlette, FastAPI and Django Channels behind each worker class."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.websocket.client import PYTHONPATH, end, open_socket, reset


@pytest.fixture(scope="module")
def starlette(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("socket_starlette:app", *PYTHONPATH, worker=worker) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def fastapi(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("socket_fastapi:app", *PYTHONPATH, worker=worker) as server:
        yield server


@pytest.fixture(scope="module")
def channels(worker: str) -> Iterator[Gunicorn]:
    if importlib.util.find_spec("channels") is None:
        pytest.skip("Django Channels is not installed")
    with Gunicorn("socket_channels:application", *PYTHONPATH, worker=worker) as server:
        yield server
        assert "Traceback" not in server.log


def status_of_denial(server: Gunicorn, target: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught, open_socket(server, target):
        pass
    response = caught.value.response
    return response.status_code, bytes(response.body or b"")


class TestStarlette:
    def test_an_endpoint(self, starlette: Gunicorn) -> None:
        with open_socket(starlette, "/echo") as client:
            for text in ("a", "κόσμε", "x" * 100_000):
                client.send(text)
                assert client.recv(PATIENCE) == text
            client.close(4000)
        assert starlette.wait_events("disconnect")[-1].detail == "4000"

    def test_json(self, starlette: Gunicorn) -> None:
        with open_socket(starlette, "/json/blue", subprotocols=["json"]) as client:
            assert client.subprotocol == "json"
            client.send('{"a": 1}')
            assert json.loads(client.recv(PATIENCE)) == {"got": {"a": 1}, "room": "blue"}

    def test_a_chat(self, starlette: Gunicorn) -> None:
        with open_socket(starlette, "/chat") as one:
            assert one.recv(PATIENCE) == "1 here"
            with open_socket(starlette, "/chat") as two:
                assert two.recv(PATIENCE) == "2 here"
                one.send("from one")
                two.send("from two")
                assert {one.recv(PATIENCE), one.recv(PATIENCE)} == {"from one", "from two"}
                assert {two.recv(PATIENCE), two.recv(PATIENCE)} == {"from one", "from two"}
                two.close(1001, "home")
            assert starlette.wait_events("left")[-1].detail == "1001 home"
            one.send("alone")
            assert one.recv(PATIENCE) == "alone"

    def test_what_it_knows_of_the_request(self, starlette: Gunicorn) -> None:
        headers = {"X-Agent": "test", "Cookie": "a=1; b=2"}
        with open_socket(starlette, "/inspect?q=%20", additional_headers=headers, subprotocols=["x", "y"]) as client:
            assert json.loads(client.recv(PATIENCE)) == {
                "url": "ws:///inspect?q=%20",
                "agent": "test",
                "cookies": {"a": "1", "b": "2"},
                "offered": ["x", "y"],
                "host": "127.0.0.1",
            }
            assert end(client) == (4001, "seen enough")

    def test_a_denial_response(self, starlette: Gunicorn) -> None:
        status, body = status_of_denial(starlette, "/private")
        assert (status, json.loads(body)) == (401, {"error": "who are you?"})

    def test_a_close_before_accept(self, starlette: Gunicorn) -> None:
        assert status_of_denial(starlette, "/closed")[0] == 403

    def test_an_unknown_path(self, starlette: Gunicorn) -> None:
        assert status_of_denial(starlette, "/nowhere")[0] in (403, 404)


class TestFastAPI:
    def test_parameters_and_dependencies(self, fastapi: Gunicorn) -> None:
        with open_socket(fastapi, "/items/7?token=me&q=x") as client:
            client.send("hello")
            assert json.loads(client.recv(PATIENCE)) == {"number": 7, "user": "me", "q": "x", "text": "hello"}
        with open_socket(fastapi, "/items/8", additional_headers={"Cookie": "session=you"}) as client:
            client.send("hello")
            assert json.loads(client.recv(PATIENCE)) == {"number": 8, "user": "you", "q": "", "text": "hello"}
        assert [event.detail for event in fastapi.wait_events("left", 2)][:2] == ["1000", "1000"]

    def test_an_exception_before_accept(self, fastapi: Gunicorn) -> None:
        assert status_of_denial(fastapi, "/items/7")[0] == 403
        assert status_of_denial(fastapi, "/items/seven?token=me")[0] == 403

    def test_an_exception_after_accept(self, fastapi: Gunicorn) -> None:
        with open_socket(fastapi, "/late") as client:
            client.send(b"a")
            assert end(client) == (1008, "not like this")

    def test_an_error(self, fastapi: Gunicorn) -> None:
        with open_socket(fastapi, "/fail") as client:
            assert end(client) == (1011, "")
        fastapi.wait_log("RuntimeError: the app went wrong")

    def test_a_client_that_leaves_while_it_sends(self, fastapi: Gunicorn) -> None:
        before = len([event for event in fastapi.events("left") if event.detail == "while sending"])
        with open_socket(fastapi, "/clock") as client:
            assert client.recv(PATIENCE) == "tick"
            reset(client)
        fastapi.wait_events("left", before + 1)
        assert fastapi.log.count("Traceback") <= 1  # that of the test before


class TestChannels:
    def test_http_beside_it(self, channels: Gunicorn) -> None:
        assert channels.get().text == "home"

    def test_a_consumer(self, channels: Gunicorn) -> None:
        with open_socket(channels, "/echo", subprotocols=["one", "two"]) as client:
            assert client.subprotocol == "one"
            for message in ("a", "κόσμε", b"\xff\x00", "x" * 100_000):
                client.send(message)
                assert client.recv(PATIENCE) == message
            client.close(4002)
        assert channels.wait_events("disconnect")[-1].detail == "4002"

    def test_a_group(self, channels: Gunicorn) -> None:
        with (
            open_socket(channels, "/room/blue") as one,
            open_socket(channels, "/room/blue") as two,
            open_socket(channels, "/room/red") as other,
        ):
            one.send("hello")
            assert one.recv(PATIENCE) == two.recv(PATIENCE) == "hello"
            other.send("red")
            assert other.recv(PATIENCE) == "red"

    def test_a_consumer_in_a_thread(self, channels: Gunicorn) -> None:
        with open_socket(channels, "/sync") as client:
            client.send('["a"]')
            assert json.loads(client.recv(PATIENCE)) == {"got": ["a"]}
            client.send('"close"')
            assert end(client) == (4321, "")

    def test_a_denial(self, channels: Gunicorn) -> None:
        assert status_of_denial(channels, "/denied")[0] == 403

    def test_an_origin_that_is_not_allowed(self, channels: Gunicorn) -> None:
        with open_socket(channels, "/echo", origin="http://anywhere.test") as client:
            client.send("a")
            assert client.recv(PATIENCE) == "a"
