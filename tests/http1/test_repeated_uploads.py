"""A client that sends bodies with the same fields again: only their length is another one.

As with requests without a body (test_repeated_heads.py), what is remembered must never show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.http1.apps import Recorder, echo
from tests.http1.conftest import Serve
from tests.scripted import Client, get, post

FIELDS = ("Accept: */*", "User-Agent: test", "Cookie: a=b", "Content-Type: text/plain")


def upload(
    body: bytes, *fields: str, target: str = "/", length: str | None = None, line: str = "Content-Length"
) -> bytes:
    """A POST whose length is the second of three fields and more."""
    length = str(len(body)) if length is None else length
    head = f"POST {target} HTTP/1.1\r\nHost: example.org\r\n{line}: {length}\r\n"
    return "".join([head, *(f"{field}\r\n" for field in (fields or FIELDS)), "\r\n"]).encode() + body


BEFORE = {
    "fields": upload(b"12345"),
    "the length last": post(b"12345", *FIELDS),
    "nothing but the length": b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n12345",
    "no body": get("/", *FIELDS),
    "large": upload(b"a body" * 10_000),
}
LAST = {
    **BEFORE,
    "another body": upload(b"a body that is longer"),
    "a shorter one": upload(b"1"),
    "another target": upload(b"12345", target="/other?x=y"),
    "an encoded target": upload(b"12345", target="/%C3%A9"),
    "a strange target": upload(b"12345", target='/"'),
    "an absolute target": upload(b"12345", target="http://example.net/x"),
    "larger": upload(b"a body" * 20_000),
    "no length": upload(b"", length=""),
    "nothing": upload(b""),
    "a leading zero": upload(b"12345", length="05"),
    "a plus": upload(b"12345", length="+5"),
    "a list": upload(b"12345", length="5, 5"),
    "no number": upload(b"12345", length="5x"),
    "a long one": upload(b"12345", length="9" * 17),
    "a longer one": upload(b"12345", length="9" * 18),
    "too long a one": upload(b"12345", length="9" * 40),
    "the name in lower case": upload(b"12345", line="content-length"),
    "not whole": upload(b"12345", length="9"),
    "one behind it": upload(b"12345", length="5") + get("/next"),
    "another of it behind it": upload(b"12345") + upload(b"123"),
    "junk behind it": upload(b"12345", length="2"),
    "other fields": upload(b"12345", *FIELDS[:-1]),
    "more fields": upload(b"12345", *FIELDS, "X: y"),
    "close": upload(b"12345", *FIELDS, "Connection: close"),
    "http10": upload(b"12345").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": upload(b"12345").replace(b"POST", b"PUT"),
    "an unknown method": upload(b"12345").replace(b"POST", b"FOO"),
    "lower case": upload(b"12345").replace(b"POST", b"post"),
    "a body that looks like it": upload(upload(b"12345")),
}


def pieces_of(request: bytes, cut: str) -> list[bytes]:
    """A request as it may come: whole, its head first, or cut within its body or head."""
    head = request.find(b"\r\n\r\n") + 4
    at = {"whole": len(request), "head": head, "body": head + 2, "line": 10, "length": 45}[cut]
    return [piece for piece in (request[:at], request[at:]) if piece]


def served(serve: Serve, requests: Iterable[bytes], **options: Any) -> tuple[Any, bytes, Client]:
    """The scopes of what is served, what is written, and the connection."""
    recorder = Recorder(echo)
    client = serve(recorder, date_header=False, **options).connect().send(*requests)
    return (
        [{name: scope[name] for name in scope if name != "state"} for scope in recorder.scopes],
        client.take(),
        client,
    )


@pytest.mark.one_of(3)
@pytest.mark.parametrize("cut", ["whole", "head", "body", "line", "length"])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("last", LAST)
def test_what_came_before_does_not_show(serve: Serve, before: str, last: str, cut: str) -> None:
    pieces = pieces_of(LAST[last], cut)
    scopes, written, client = served(serve, [BEFORE[before]] * 4)
    alone, alone_written, other = served(serve, pieces)
    together, together_written, both = served(serve, [*[BEFORE[before]] * 4, *pieces])
    assert (together, together_written) == (scopes + alone, written + alone_written)
    assert both.closed == other.closed
    assert client.open


@pytest.mark.parametrize("cut", ["whole", "head", "body"])
def test_the_same_fields_again_are_taken(serve: Serve, taken: list[bool], cut: str) -> None:
    requests = [upload(b"x" * size, target=f"/{size}") for size in (5, 5, 5, 17, 2, 50_000, 3)]
    scopes, written, client = served(serve, [piece for request in requests for piece in pieces_of(request, cut)])
    assert [scope["path"] for scope in scopes] == ["/5", "/5", "/5", "/17", "/2", "/50000", "/3"]
    assert [dict(scope["headers"])[b"content-length"] for scope in scopes] == [b"5"] * 3 + [b"17", b"2", b"50000", b"3"]
    assert written.count(b"HTTP/1.1 200 OK") == 7
    # The first two are the parser's, and the third is remembered.
    assert taken == [True] * 4
    assert client.open


@pytest.mark.parametrize(
    "options", [{"limit_request_body": 10}, {"paths": {"/a": {"limit_request_body": 10}}}], ids=str
)
def test_limits_are_kept(serve: Serve, options: dict[str, Any]) -> None:
    requests = [upload(b"x" * size, target="/a") for size in (5, 5, 5, 5, 10, 11)]
    _, written, client = served(serve, requests, **options)
    assert written.count(b"HTTP/1.1 200 OK") == 5
    assert written.count(b"HTTP/1.1 413 ") == 1
    assert not client.open or client.transport.eof_written


def test_what_the_application_changes_does_not_show(serve: Serve) -> None:
    recorder = Recorder(echo)
    client = serve(recorder).connect()
    for _ in range(5):
        client.send(upload(b"12345"))
        assert len(recorder.scopes[-1]["headers"]) == len(FIELDS) + 2
        recorder.scopes[-1]["headers"].clear()


def test_an_idle_connection_forgets_it(serve: Serve) -> None:
    harness = serve(Recorder(echo))
    client = harness.connect().send(*[upload(b"12345")] * 4, get("/", "New: x"))
    reader = client.protocol.reader  # type: ignore[attr-defined]
    assert reader.pattern is not None
    client.protocol.on_tick(harness.runtime.tick)  # type: ignore[attr-defined]
    assert reader.pattern is None


def test_what_proxies_say(serve: Serve) -> None:
    recorder = Recorder(echo)
    client = serve(recorder, forwarded_allow_ips="*").connect(peername=("127.0.0.1", 9))
    for client_ip in ("203.0.113.7",) * 4 + ("203.0.113.8",) * 2 + ("203.0.113.7",):
        client.send(upload(b"12345", f"X-Forwarded-For: {client_ip}"))
    assert [scope["client"][0][-1] for scope in recorder.scopes] == list("7777887")
