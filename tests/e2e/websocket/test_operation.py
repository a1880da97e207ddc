"""WebSockets while the server is operated: stop, reload, recycling, access log, options."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import uvicorn_worker
from tests.e2e.harness import APPS, H11, HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.e2e.websocket.client import HANDSHAKE, PYTHONPATH, end, headers, open_socket

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

Serve = Callable[..., Gunicorn]


def holding(server: Gunicorn, stack: ExitStack, count: int) -> list[ClientConnection]:
    """Open WebSockets whose application waits."""
    clients = [stack.enter_context(open_socket(server, "/hold")) for _ in range(count)]
    server.wait_events("open", count)
    return clients


def frame_code(data: bytes) -> int:
    """The code of the close frame that is all of `data`."""
    assert data[0] == 0x88
    return int.from_bytes(data[2:4], "big")


def test_a_deployment_has_replaced_the_package(serve: Serve, worker: str, tmp_path: Path) -> None:
    """What the first WebSocket needs is in the processes from their start on, also in those that are forked later."""
    package = shutil.copytree(Path(uvicorn_worker.__file__).parent, tmp_path / "uvicorn_worker")
    server = serve("socket_probe:app", *PYTHONPATH, worker=worker, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{APPS}"})
    server.wait_started()
    shutil.rmtree(package)
    with open_socket(server) as client:
        client.send("from the first")
        assert client.recv(PATIENCE) == "from the first"
        assert "permessage-deflate" in headers(client)["Sec-WebSocket-Extensions"]
    first = server.workers()
    server.signal(signal.SIGKILL, first[0])
    server.wait_started(2)
    with open_socket(server) as client:
        client.send("from the second")
        assert client.recv(PATIENCE) == "from the second"
    assert server.workers() != first


class TestStop:
    def test_term_closes_with_1012(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "-c", "python:hooks", worker=worker)
        with ExitStack() as stack:
            clients = holding(server, stack, 8)
            server.signal(signal.SIGTERM)
            assert [end(client) for client in clients] == [(1012, "")] * 8
            # Nobody waits until the time of a stop is over, which is 30 seconds.
            assert server.wait_exit() == 0
        assert [event.detail for event in server.events("disconnect")] == ["1012 "] * 8
        assert len(server.events("shutdown")) == len(server.events("worker_exit")) == 1
        order = [event.name for event in server.events()]
        assert order.index("shutdown") > max(at for at, name in enumerate(order) if name == "disconnect")
        assert "Traceback" not in server.log
        assert "[ERROR]" not in server.log
        assert server.leftovers() == []

    def test_messages_before_the_stop_are_answered(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, worker=worker)
        with open_socket(server) as client:
            for at in range(100):
                client.send(str(at))
            assert client.recv(PATIENCE) == "0"
            server.signal(signal.SIGTERM)
            assert end(client) == (1012, "")
        assert server.wait_exit() == 0

    @pytest.mark.parametrize("target", ["/hold", "/deaf"])
    def test_a_client_that_does_not_answer_is_waited_for_within_the_grace(
        self, serve: Serve, worker: str, target: str
    ) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "--graceful-timeout", "2", worker=worker)
        with server.connect() as connection:
            connection.request(target, *HANDSHAKE)
            assert connection.head().status == 101
            server.wait_events("open")
            server.signal(signal.SIGTERM)
            assert server.wait_exit() == 0
            assert frame_code(connection.rest()) == 1012
        assert len(server.events("shutdown")) == 1

    @pytest.mark.parametrize("signum", [signal.SIGQUIT, signal.SIGINT], ids=lambda signum: signum.name)
    def test_quit_and_int_cut(self, serve: Serve, worker: str, signum: signal.Signals) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "-c", "python:hooks", worker=worker)
        with ExitStack() as stack:
            clients = holding(server, stack, 4)
            server.signal(signum)
            assert server.wait_exit() == 0
            assert all(end(client) in (None, (1012, "")) for client in clients)
        assert len(server.events("worker_exit")) == 1
        assert "Traceback" not in server.log

    def test_hup_moves_clients_to_new_workers(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, worker=worker)
        with ExitStack() as stack:
            (client,) = holding(server, stack, 1)
            old = headers(client)["x-pid"]
            server.signal(signal.SIGHUP)
            assert end(client) == (1012, "")
            again = stack.enter_context(open_socket(server))
            assert headers(again)["x-pid"] != old
            again.send("a")
            assert again.recv(PATIENCE) == "a"


class TestRecycling:
    def test_websockets_count_for_max_requests(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "--max-requests", "5", worker=worker)
        pids: list[str] = []
        while len(set(pids)) < 3:
            at = len(pids)
            # From the fifth on the worker is being replaced. It serves on until the next one has started.
            with open_socket(server) as client:
                pids.append(headers(client)["x-pid"])
                try:
                    client.send(str(at))
                    assert client.recv(PATIENCE) == str(at)
                except ConnectionClosed:
                    assert end(client) == (1012, "")
        first, second, _ = (pids.count(pid) for pid in dict.fromkeys(pids))
        assert first >= 5
        assert second >= 5
        assert "exited with code" not in server.log

    def test_an_open_one_is_told(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "--max-requests", "3", worker=worker)
        with ExitStack() as stack:
            (client,) = holding(server, stack, 1)
            for _ in range(2):
                assert server.get().status_code == 200
            assert end(client) == (1012, "")
        assert server.get().headers["x-pid"] != headers(client)["x-pid"]


class TestAccessLog:
    LAYOUT = "%(h)s|%(r)s|%(s)s|%(B)s|%({sec-websocket-version}i)s|%({x-pid}o)s|%({upgrade}o)s|%(D)s"

    def lines(self, server: Gunicorn, count: int) -> list[list[str]]:
        text = until(lambda: server.out if server.out.count("\n") >= count else None, f"{count} access lines")
        assert text.count("\n") == count
        return [line.split("|") for line in text.splitlines()]

    def serve(self, serve: Serve, worker: str) -> Gunicorn:
        options = ("--access-logfile", "-", "--access-logformat", self.LAYOUT)
        return serve("socket_probe:app", *PYTHONPATH, *options, worker=worker)

    def test_one_line_when_it_opens(self, serve: Serve, worker: str) -> None:
        server = self.serve(serve, worker)
        with open_socket(server, "/echo?q=1") as client:
            (line,) = self.lines(server, 1)
            assert line[:5] == ["127.0.0.1", "GET /echo?q=1 HTTP/1.1", "101", "0", "13"]
            assert line[5] == headers(client)["x-pid"]
            assert line[6] == "websocket"
            assert 0 <= int(line[7]) < 20_000_000
            client.send("a")
            assert client.recv(PATIENCE) == "a"
        server.wait_events("disconnect")
        assert server.get().status_code == 200
        assert [line[2] for line in self.lines(server, 2)] == ["101", "200"]

    def test_one_for_a_denial(self, serve: Serve, worker: str) -> None:
        server = self.serve(serve, worker)
        for target, status in (("/deny", 401), ("/refuse", 403)):
            with pytest.raises(InvalidStatus) as caught, open_socket(server, target):
                pass
            assert caught.value.response.status_code == status
        first, second = self.lines(server, 2)
        assert first[:4] == ["127.0.0.1", "GET /deny HTTP/1.1", "401", "12"]
        assert second[:3] == ["127.0.0.1", "GET /refuse HTTP/1.1", "403"]

    def test_open_and_close_are_told_at_debug(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, "--log-level", "debug", worker=worker)
        with open_socket(server) as client:
            server.wait_log(r"\[DEBUG\] WebSocket /echo from 127\.0\.0\.1:\d+ is open")
            client.close(3000, "bye")
        server.wait_log(r"\[DEBUG\] WebSocket /echo is closed: 3000 bye")


class TestOptions:
    """Those that a subclass of the worker sets."""

    @staticmethod
    def named(worker: str, name: str) -> str:
        return f"socket_workers.{name}{'H11' if worker == H11 else ''}"

    def test_pings(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, worker=self.named(worker, "Impatient"))
        with server.connect() as connection, open_socket(server) as client:
            connection.request("/hold", *HANDSHAKE)
            assert connection.head().status == 101
            # A client that does not answer, and one that does.
            data = connection.rest()
            assert data[:2] == b"\x89\x04"
            assert frame_code(data[6:]) == 1011
            client.send("a")
            assert client.recv(PATIENCE) == "a"
        assert server.wait_events("disconnect")[0].detail == "1011 keepalive ping timeout"

    def test_the_largest_message(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, worker=self.named(worker, "Impatient"))
        with open_socket(server) as client:
            client.send(bytes(1000))
            assert client.recv(PATIENCE) == bytes(1000)
            client.send(bytes(1001))
            assert (end(client) or (0, ""))[0] == 1009

    def test_none_is_plain_http(self, serve: Serve, worker: str) -> None:
        server = serve("socket_probe:app", *PYTHONPATH, worker=self.named(worker, "Plain"))
        with server.connect() as connection:
            connection.request("/echo", *HANDSHAKE)
            response = connection.response()
            assert (response.status, response.body) == (200, b"Hello, world!")
            assert re.fullmatch(r"\d+", connection.get("/").headers["x-pid"])


def test_a_stop_does_not_close_them_all_at_once(serve: Serve) -> None:
    """Their clients come back at once: two hundred are told one after the other, by the time that the server takes."""
    count = 200
    server = serve("socket_probe:app", *PYTHONPATH, "--graceful-timeout", "20", worker=HTTPTOOLS)
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(count)]
        for connection in connections:
            connection.request("/hold", *HANDSHAKE)
            assert connection.head().status == 101
        server.wait_events("open", count)
        server.signal(signal.SIGTERM)
        told = server.wait_events("disconnect", count)
        assert {event.detail for event in told} == {"1012 "}
        # A hundred a second, or all of them in a fifth of the time, whichever is sooner; a slow machine takes longer.
        assert told[-1].time - told[0].time > 1.5
        # In as many turns of the loop: those of one turn would not be 10 milliseconds apart. A late turn catches up.
        assert len({round(event.time, 3) for event in told}) > count // 10
        for connection in connections:
            # 1012, and the end of the connection when the client has answered.
            assert connection.socket.recv(4) == b"\x88\x02\x03\xf4"
            connection.send(b"\x88\x82\0\0\0\0\x03\xf4")
    assert server.wait_exit() == 0
    assert "SIGKILL" not in server.log
