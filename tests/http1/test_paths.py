"""The option `paths` over HTTP/1.1; tests/http2/test_paths.py has the same over HTTP/2."""

from __future__ import annotations

import asyncio

import pytest

from tests.http1.apps import echo
from tests.http1.conftest import Connect
from tests.scripted import Client, get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.figures import PATH_COUNTERS

CHUNKED = "Transfer-Encoding: chunked"


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(("target", "status"), [("/", 413), ("/up", 200), ("/up/none", 413), ("http://a/up", 200)])
def test_limit_request_body(connect: Connect, target: str, status: int) -> None:
    paths = {"/up": {"limit_request_body": 100}, "/up/none": {"limit_request_body": 0}}
    client = connect(echo, limit_request_body=5, paths=paths)
    client.send(post(b"1234567890", target=target))
    assert client.response().status == status
    client = connect(echo, limit_request_body=5, paths=paths)
    client.send(get(target, CHUNKED, method="POST") + b"a\r\n1234567890\r\n0\r\n\r\n")
    assert client.response().status == status


def test_the_limit_of_the_path_is_told(connect: Connect) -> None:
    client = connect(echo, paths={"/up": {"limit_request_body": 3}}).send(post(b"12345", target="/up"))
    assert client.response().body == b"the request body is longer than 3 bytes\n"


@pytest.mark.parametrize(("target", "seconds"), [("/", 30), ("/quick", 5)])
def test_timeout_request(connect: Connect, target: str, seconds: float) -> None:
    client = connect(hanging, timeout_request=30, paths={"/quick": {"timeout_request": 5}}).send(get(target))
    client.harness.tick(seconds - 1)
    assert client.harness.runtime.cycles
    client.harness.tick(2)
    assert client.response().status == 504
    assert client.harness.runtime.tally.timed_out == 1


def test_none_lets_a_path_take_its_time(connect: Connect) -> None:
    client = connect(hanging, timeout_request=1, paths={"/long": {"timeout_request": None}}).send(get("/long"))
    client.harness.tick(100)
    assert client.open
    assert client.harness.runtime.cycles


@pytest.mark.parametrize(("target", "open_"), [("/", True), ("/up", False)])
def test_timeout_request_body(connect: Connect, target: str, open_: bool) -> None:
    client = connect(echo, timeout_request_body=60, paths={"/up": {"timeout_request_body": 5}})
    client.send(post(b"12345", target=target)[:-2])
    client.harness.tick(7)
    assert client.open is open_


def test_what_is_refused_is_counted(connect: Connect) -> None:
    client = connect(echo, limit_request_body=5).send(post(b"1234567890"))
    client.send(b"")
    tally = client.harness.runtime.tally
    assert tally.refusals["body_too_large"] == 1
    assert sum(tally.responses) == 1
    client = connect(echo).send(b"nonsense\r\n\r\n")
    assert client.harness.runtime.tally.refusals["malformed"] == 1


def counted(client: Client) -> dict[str, dict[str, int]]:
    """What was counted of each path, zeroes left out."""
    paths = client.harness.runtime.paths
    assert paths is not None
    return {
        name: {
            figure: number for figure, number in zip(PATH_COUNTERS, row, strict=True) if number and figure != "spent"
        }
        for name, row in zip(paths.names, paths.counters, strict=True)
    }


@pytest.mark.parametrize("access", [True, False])
def test_each_response_is_counted_for_its_path(connect: Connect, access: bool) -> None:
    """Those to what is refused too, whether or not there is an access log."""
    client = connect(echo, paths={"/a": {}, "/a/b": {"limit_request_body": 0}, "/c": {}})
    if access:
        client.harness.runtime.access = lambda cycle: None
    client.send(get("/a/") + get("/a/b") + post(b"x", target="/a/b"))
    found = counted(client)
    assert sum(found["/a"].values()) == 2
    assert found["/a"]["2xx"] == 1
    # The second one was never in the application, and has no duration.
    assert (found["/a/b"]["2xx"], found["/a/b"]["4xx"]) == (1, 1)
    assert sum(found["/a/b"].values()) == 3
    assert found["/c"] == {}
    client = connect(echo, paths={"/a": {}}).send(b"GET /a HTTP/1.1\r\n\r\n")
    assert client.response().status == 400
    assert counted(client) == {"/a": {"4xx": 1}}
