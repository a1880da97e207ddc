"""Whatever a client sends ends in an answer and a close; whatever it does, the app is told and the worker goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = b"Host: test\r\n"
MANY_FIELDS = b"".join(b"X-%d: 1\r\n" % number for number in range(150))

BAD = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n", 400),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two-hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "field-name": (b"GET / HTTP/1.1\r\n" + HOST + b"bad name: 1\r\n\r\n", 400),
    "content-length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n", 400),
    "two-lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "length-and-chunked": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "long-line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "endless-line": (b"GET /" + b"a" * 100_000, 414),
    "many-fields": (b"GET / HTTP/1.1\r\n" + HOST + MANY_FIELDS + b"\r\n", 431),
    "long-field": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * 10_000 + b"\r\n\r\n", 431),
    "expectation": (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: a-miracle\r\n\r\n", 417),
    "version": (b"GET / HTTP/3.7\r\n" + HOST + b"\r\n", 505),
}


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("probe:app", worker=worker) as server:
        server.wait_log("Ready in")
        yield server


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD)
def test_bad_request_is_answered_closed_and_logged_in_one_line(server: Gunicorn, data: bytes, status: int) -> None:
    before = len(server.log)
    requests = len(server.events("request"))
    with server.connect() as connection:
        peer = f"127.0.0.1:{connection.local_port}"
        connection.send(data)
        response = connection.response()
        assert (response.status, response.closes) == (status, True)
        assert connection.rest() == b""
    until(lambda: server.log[before:].endswith("\n"), "a log line")
    (line,) = server.log[before:].splitlines()
    assert peer in line
    assert len(line.partition(peer)[2]) > len(": because")  # there is a reason
    assert len(server.events("request")) == requests  # the app never saw it
    assert server.get().status_code == 200


def test_bad_chunk_is_a_400_or_a_cut_but_never_a_whole_body(server: Gunicorn) -> None:
    with server.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")
        answer = connection.rest()
    assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert server.get().status_code == 200


def test_request_after_a_bad_one_is_not_served(server: Gunicorn) -> None:
    requests = len(server.events("request"))
    with server.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.response().status == 400
        assert connection.rest() == b""
    assert len(server.events("request")) == requests


def test_client_that_leaves_during_the_response(server: Gunicorn) -> None:
    before = len(server.events("send-raised-oserror"))
    with server.connect() as connection:
        connection.request("/endless")
        assert connection.head().status == 200
        assert len(connection.chunk()) == 65536
    server.wait_events("send-raised-oserror", before + 1)
    assert server.wait_events("then-received", before + 1)[-1].detail == "http.disconnect"
    assert server.get().status_code == 200


def test_client_that_leaves_before_the_response(server: Gunicorn) -> None:
    before = len(server.events("disconnected"))
    waiting = len(server.events("waiting-for-disconnect"))
    with server.connect() as connection:
        connection.request("/wait")
        server.wait_events("waiting-for-disconnect", waiting + 1)
    server.wait_events("disconnected", before + 1)
    assert server.get().status_code == 200


def test_client_that_leaves_during_its_upload(server: Gunicorn) -> None:
    before = len(server.events("disconnected"))
    waiting = len(server.events("waiting-for-disconnect"))
    with server.connect() as connection:
        connection.send(b"POST /wait HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\nonly this")
        server.wait_events("waiting-for-disconnect", waiting + 1)
    server.wait_events("disconnected", before + 1)
    assert server.get().status_code == 200


def test_failing_view_is_a_500_logged_once(server: Gunicorn) -> None:
    before = server.log.count("RuntimeError: the view went wrong")
    with server.connect() as connection:
        response = connection.get("/fail")
        assert response.status == 500
    server.get()
    assert server.log.count("RuntimeError: the view went wrong") == before + 1
