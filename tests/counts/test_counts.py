"""Gates on what a request costs in calls and writes.

The numbers are about a tenth above what was measured (on Python 3.11; newer ones take a few less), so that a change
that makes a request dearer is seen at once; one that makes it cheaper may lower them. Nothing here depends on the
machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from tests.counts.counting import Counts, count, count_connection
from tests.http1.apps import stream
from tests.scripted import get, post
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.skipif(sys.implementation.name == "pypy", reason="what is counted are CPython's calls")

BROWSER = (
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: none",
)

BROWSER_WITHOUT_COOKIE = tuple(field for field in BROWSER if not field.startswith("Cookie"))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Thirteen bytes."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": b"Hello, world!"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body of the request, which came along with its head."""
    event = await receive()
    assert not event["more_body"]
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(event["body"]))],
        }
    )
    await send({"type": "http.response.body", "body": event["body"]})


def request(number: int, *fields: str, body: bytes = b"") -> bytes:
    """A request whose target and fields no other has, so that nothing can be taken from an earlier one."""
    if not body:
        return get(f"/{number}", *fields, *([f"X-Id: {number}"] if fields else []))
    head = get(f"/{number}", f"X-Id: {number}", f"Content-Length: {len(body)}", method="POST")
    return head + body


TEN_CHUNKS = stream(*[b"x" * 100] * 10)


@dataclass(frozen=True)
class Gate:
    """The most that each parser may take."""

    python: int
    c: int
    writes: int = 1


# What httptools does is no call that is counted, but a look into a dictionary that takes its place may be one.
# Two of the C calls are for the clock, and one for the bytes that are sent: what the board tells of each request.
# The application, the requests of which the last is counted, and the gates by parser.
CASES: dict[str, tuple[ASGIApp, list[bytes], dict[str, Gate]]] = {
    "the same get again": (hello, [get()] * 4, {"httptools": Gate(15, 29), "h11": Gate(15, 29)}),
    "another get": (
        hello,
        [request(number, f"X-A: {number}") for number in range(8)],
        {"httptools": Gate(22, 55), "h11": Gate(22, 55)},
    ),
    # One of the calls is for the head, which does not wait for the next turn (Python 3.11; eager tasks do without).
    # On a server that has never answered: it makes the head that the next ones have, and looks at the Host field.
    "a first get": (hello, [get()], {"httptools": Gate(41, 88), "h11": Gate(125, 138)}),
    "a browser's get": (
        hello,
        [request(number, *BROWSER) for number in range(8)],
        {"httptools": Gate(20, 50), "h11": Gate(20, 50)},
    ),
    # As through a proxy: none has as many fields as the one before, so that each line is looked at.
    "several browsers' gets": (
        hello,
        [request(number, *BROWSER[number % 2 :]) for number in range(8)],
        {"httptools": Gate(21, 60), "h11": Gate(21, 60)},
    ),
    "a post of 1 KB": (
        echo,
        [request(number, body=b"x" * 1024) for number in range(8)],
        {"httptools": Gate(23, 59), "h11": Gate(23, 59)},
    ),
    "the same post again": (echo, [post(b"x" * 1024)] * 6, {"httptools": Gate(18, 37), "h11": Gate(18, 37)}),
    "the same post again, of another length": (
        echo,
        [post(b"x" * size, "Accept: */*") for size in (1024, 1025, 1024, 1024, 1024, 1025)],
        {"httptools": Gate(18, 43), "h11": Gate(18, 43)},
    ),
    "a post of 64 KiB": (
        echo,
        [post(b"x" * 65536)] * 6,
        {"httptools": Gate(27, 49), "h11": Gate(27, 49)},
    ),
    "ten chunks": (TEN_CHUNKS, [get()] * 4, {"httptools": Gate(53, 83, 2), "h11": Gate(53, 83, 2)}),
    "sixteen pipelined gets": (hello, [get() * 16] * 4, {"httptools": Gate(270, 500, 2), "h11": Gate(270, 500, 2)}),
}


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("case", CASES)
def test_gates(case: str, parser: str) -> None:
    app, requests, gates = CASES[case]
    counts, gate = count(app, *requests, parser=parser), gates[parser]
    assert counts.writes <= gate.writes, f"\n{counts}"
    assert counts.python_calls <= gate.python, f"\n{counts}"
    assert counts.c_calls <= gate.c, f"\n{counts}"


# The same on a connection of its own, from its beginning on: where others began with the same fields, and where these
# are looked at, since there is something secret among them.
CONNECTIONS = {
    "the same get": (get("/", *BROWSER_WITHOUT_COOKIE), 29, 37),
    "the same get, and close": (get("/", "Connection: close"), 32, 37),
    "a browser's get": (get("/", *BROWSER), 30, 44),
}


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("case", CONNECTIONS)
def test_connections(case: str, parser: str) -> None:
    request, python, c = CONNECTIONS[case]
    counts = count_connection(hello, request, parser)
    assert counts.writes == 1, f"\n{counts}"
    assert counts.python_calls <= python, f"\n{counts}"
    assert counts.c_calls <= c, f"\n{counts}"


def test_a_small_get_is_exactly_one_write_and_at_most_forty_calls() -> None:
    for requests in ([get()] * 2, [get("/a"), get("/b")], [get("/", "X: 1"), get("/", "X: 2"), get()]):
        counts = count(hello, *requests, parser="httptools")
        assert counts.writes == 1, f"\n{counts}"
        assert counts.python_calls <= 40, f"\n{counts}"


PROXY = ("127.0.0.1", 40000)
FORWARDED = ("X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https")


def test_a_peer_that_is_no_proxy_costs_nothing() -> None:
    """Its fields are not looked at; and those of a proxy that says nothing neither."""
    requests = [request(number, *BROWSER) for number in range(8)]
    forwarded = [request(number, *BROWSER, *FORWARDED) for number in range(8)]
    plain = count(hello, *requests, parser="httptools", forwarded_allow_ips="")
    for peer, sent in (("192.0.2.7", 1), requests), (PROXY, requests), (("192.0.2.7", 1), forwarded):
        counts = count(hello, *sent, parser="httptools", peer=peer)
        assert counts.python_calls == plain.python_calls, f"\n{counts}"


@pytest.mark.parametrize("fields", [FORWARDED, (*FORWARDED, *BROWSER)])
def test_what_a_proxy_says_of_a_client_that_was_here_before_costs_one_call(fields: tuple[str, ...]) -> None:
    requests = [request(number, *fields) for number in range(8)]
    trusted, untrusted = (count(hello, *requests, parser="httptools", peer=peer) for peer in (PROXY, ("192.0.2.7", 1)))
    assert trusted.python_calls <= untrusted.python_calls + 1, f"\n{trusted}"
    assert trusted.c_calls <= untrusted.c_calls + 5, f"\n{trusted}"
    again = [get("/", *fields)] * 4
    trusted, untrusted = (count(hello, *again, parser="httptools", peer=peer) for peer in (PROXY, ("192.0.2.7", 1)))
    assert trusted.python_calls == untrusted.python_calls, f"\n{trusted}"


def test_a_log_that_is_off_costs_nothing() -> None:
    def cost(**options: bool) -> Counts:
        return count(hello, get(), get(), parser="httptools", **options)

    assert cost(access_log=False).python_calls == cost().python_calls


def test_paths_cost_one_call_for_each_request() -> None:
    """Which counts it; without the option there is none (`CASES`)."""
    plain = count(hello, get(), get(), parser="httptools")
    with_paths = count(hello, get(), get(), parser="httptools", paths={"/a": {}, "/b": {}})
    assert with_paths.python_calls == plain.python_calls + 1, f"\n{with_paths}"


def test_the_count_sees_what_it_should() -> None:
    counts = count(hello, get(), get(), parser="httptools")
    names = {name.partition(":")[2] for name in counts.python}
    assert {"data_received", "run", "send"} <= names
    assert not {"hello", "write", "settle", "profile"} & names
