"""RFC 9112 and 9110 on the wire: raw bytes, the statuses that are answered, and the clause.

Each row has one outcome: with both parsers, and whichever way the bytes are cut into reads.
"""

from __future__ import annotations

import pytest

from tests.http1.harness import Http1Harness
from tests.scripted import get, parse_responses
from uvicorn_worker.core.asgi import Receive, Scope, Send

A = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + A
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED = POST + TE + b"\r\n"
LAST = b"0\r\n\r\n"

# Bytes, statuses, clause. Behind each stands one more request, `/behind`, which is answered after the good ones alone.
Row = tuple[bytes, list[int], str]

FRAMING: list[Row] = [
    (POST + b"Content-Length: 5\r\n\r\n12345", [200, 200], "9112 6.2"),
    (POST + b"Content-Length: 05\r\n\r\n12345", [200, 200], "9110 8.6"),
    (POST + b"Content-Length: 0\r\n\r\n", [200, 200], "9110 8.6"),
    (CHUNKED + b"5\r\nhello\r\n" + LAST, [200, 200], "9112 7.1"),
    (POST + b"transfer-ENCODING: Chunked\r\n\r\n" + LAST, [200, 200], "9112 7"),
    (POST + b"Transfer-Encoding:   chunked\r\n\r\n" + LAST, [200, 200], "9112 5"),
    (POST + b"Content-Length: 5\r\n" + TE + b"\r\n" + LAST, [400], "9112 6.3 (3)"),
    (POST + TE + b"Content-Length: 5\r\n\r\n" + LAST, [400], "9112 6.3 (3)"),
    (POST + TE + b"Content-Length: 0\r\n\r\n" + LAST, [400], "9112 6.3 (3)"),
    (POST + TE + TE + b"\r\n" + LAST, [400], "9112 6.1: chunked more than once"),
    (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST, [400], "9112 6.1"),
    (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST, [400], "9112 6.3 (4)"),
    (POST + TE + b"Transfer-Encoding: gzip\r\n\r\n" + LAST, [400], "9112 6.3 (4)"),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST, [501], "9112 6.1"),
    (POST + b"Transfer-Encoding:\r\n\r\n" + LAST, [400], "9112 6.1: no coding"),
    (POST + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST, [501], "9112 6.1"),
    (POST + b"Transfer-Encoding : chunked\r\n\r\n" + LAST, [400], "9112 5.1"),
    (POST + b"Transfer-Encoding\x0b: chunked\r\n\r\n" + LAST, [400], "9112 5.1"),
    (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST, [400], "9110 5.5"),
    (b"POST / HTTP/1.0\r\n" + A + TE + b"\r\n" + LAST, [400], "9112 6.1"),
    (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", [400], "9112 6.3 (5)"),
    (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345", [400], "9112 6.3 (5)"),
    (POST + b"Content-Length: 5, 5\r\n\r\n12345", [400], "9112 6.3 (5)"),
    (POST + b"Content-Length: 5,6\r\n\r\n12345", [400], "9112 6.3 (5)"),
    (POST + b"Content-Length: +5\r\n\r\n12345", [400], "9110 8.6"),
    (POST + b"Content-Length: -5\r\n\r\n12345", [400], "9110 8.6"),
    (POST + b"Content-Length: 0x5\r\n\r\n12345", [400], "9110 8.6"),
    (POST + b"Content-Length: 5a\r\n\r\n12345", [400], "9110 8.6"),
    (POST + b"Content-Length: 1 2\r\n\r\n12345", [400], "9110 8.6"),
    (POST + b"Content-Length: 1_0\r\n\r\n1234567890", [400], "9110 8.6"),
    (POST + b"Content-Length:\r\n\r\n", [400], "9110 8.6"),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n", [400], "9110 8.6: overflow"),
    (POST + b"Content-Length : 5\r\n\r\n12345", [400], "9112 5.1"),
]

CHUNKS: list[Row] = [
    (CHUNKED + b"5;a=b\r\nhello\r\n" + LAST, [200, 200], "9112 7.1.1"),
    (CHUNKED + b"5; a=b\r\nhello\r\n" + LAST, [200, 200], "9112 7.1.1: BWS"),
    (CHUNKED + b"5 ;a = b\r\nhello\r\n" + LAST, [200, 200], "9112 7.1.1: BWS"),
    (CHUNKED + b'5\t;\ta\t=\t"b;\\"c"; d\r\nhello\r\n' + LAST, [200, 200], "9112 7.1.1: BWS"),
    (CHUNKED + b"5;a;b;c=d\r\nhello\r\n0;last\r\n\r\n", [200, 200], "9112 7.1.1"),
    (CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", [200, 200], "9112 7.1"),
    (CHUNKED + b"A\r\n0123456789\r\n" + LAST, [200, 200], "9112 7.1"),
    (CHUNKED + b"1\r\n\n\r\n2\r\n\r\n\r\n" + LAST, [200, 200], "9112 7.1: line ends as data"),
    (CHUNKED + b"0\r\nX: y\r\nConnection: close\r\nHost: b\r\n\r\n", [200, 200], "9112 7.1.2"),
    (CHUNKED + b"5\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"5\r\nhello\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"5\r\nhelloworld\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"5\r\nhello" + LAST, [400], "9112 7.1: no CRLF behind the data"),
    (CHUNKED + b"5 \r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b" 5\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"+5\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"-5\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"0x5\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"5g\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"1_0\r\n0123456789abcdef\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b";a=b\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"F" * 16 + b"\r\nhello", [400], "9112 7.1: overflow"),
    (CHUNKED + b"8" + b"0" * 15 + b"\r\nhello", [400], "9112 7.1: overflow"),
    (CHUNKED + b"10000000000000005\r\nhello\r\n" + LAST, [400], "9112 7.1: overflow"),
    (CHUNKED + b"5;a\nb\r\nhello\r\n" + LAST, [400], "9112 2.2"),
    (CHUNKED + b"5;a\rb\r\nhello\r\n" + LAST, [400], "9112 2.2"),
    (CHUNKED + b"5;a=\0\r\nhello\r\n" + LAST, [400], "9112 7.1.1"),
    (CHUNKED + b'5;a="\0"\r\nhello\r\n' + LAST, [400], "9112 7.1.1"),
    (CHUNKED + b'5;a="b\r\nhello\r\n' + LAST, [400], "9112 7.1.1"),
    (CHUNKED + b"5;\r\nhello\r\n" + LAST, [400], "9112 7.1.1"),
    (CHUNKED + b"5\0\r\nhello\r\n" + LAST, [400], "9112 7.1"),
    (CHUNKED + b"0\r\n\n", [400], "9112 2.2: a bare LF ends the trailers"),
    (CHUNKED + b"0\r\nX: y\n\r\n", [400], "9112 2.2"),
    (CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", [400], "9112 5.2: a folded trailer"),
    (CHUNKED + b"0\r\nX: a\rb\r\n\r\n", [400], "9112 2.2"),
    (CHUNKED + b"0\r\nX: \0\r\n\r\n", [400], "9110 5.5"),
    (CHUNKED + b"0\r\nX : y\r\n\r\n", [400], "9112 5.1"),
    (CHUNKED + b"0\r\nfield\r\n\r\n", [400], "9112 5"),
    (CHUNKED + b"0\r\n: y\r\n\r\n", [400], "9112 5"),
]

LINES: list[Row] = [
    (b"\r\n\r\n" + get(), [200, 200], "9112 2.2"),
    (GET + A + b"X: a\r\n b\r\n\r\n", [400], "9112 5.2"),
    (GET + b" " + A + b"\r\n", [400], "9112 2.2"),
    (GET + A[:-2] + b"\n\r\n", [400], "9112 2.2"),
    (GET[:-2] + b"\n" + A + b"\r\n", [400], "9112 2.2"),
    (GET + A + b"\n", [400], "9112 2.2"),
    (GET + b"Host: a\rX: y\r\n\r\n", [400], "9112 2.2"),
    (GET + b"Host: a\r\r\n\r\n", [400], "9112 2.2"),
    (GET + A + b"X : y\r\n\r\n", [400], "9112 5.1"),
    (GET + A + b"X\t: y\r\n\r\n", [400], "9112 5.1"),
    (GET + A + b"X: a\0b\r\n\r\n", [400], "9110 5.5"),
    (GET + A + b"X: a\x01b\r\n\r\n", [400], "9110 5.5"),
    (GET + A + b"X: a\x7fb\r\n\r\n", [400], "9110 5.5"),
    (GET + A + b"X: a\tb\xe9\r\n\r\n", [200, 200], "9110 5.5"),
    (GET + A + b": y\r\n\r\n", [400], "9110 5.1"),
    (GET + A + b"field\r\n\r\n", [400], "9112 5"),
    (GET + A + b"f(o: y\r\n\r\n", [400], "9110 5.1"),
    (GET + A + b"HTTP version\r\n\r\n", [400], "9112 5"),
    (GET + A + b"HTTP version: 7\r\n\r\n", [400], "9110 5.1"),
]

HOSTS: list[Row] = [
    *((GET + b"Host: " + host + b"\r\n\r\n", [200, 200], "9112 3.2") for host in (b"a:80", b"a_b", b"[::1]:80", b"")),
    *((GET + b"Host: " + host + b"\r\n\r\n", [200, 200], "9112 3.2") for host in (b"192.0.2.1", b"a.", b"%41", b"a:")),
    *((GET + b"Host: " + host + b"\r\n\r\n", [200, 200], "no IP-literal") for host in (b"::1", b"::1:80", b"fe80::1")),
    *(
        (GET + b"Host: " + host + b"\r\n\r\n", [400], "9112 3.2")
        for host in (
            b"a b",
            b"a/b",
            b"user@a",
            b"a:port",
            b"a, b",
            b"a,b",
            b"a:1:2",
            b"[::1",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"<a>",
        )
    ),
    (GET + b"\r\n", [400], "9112 3.2"),
    (GET + A + A + b"\r\n", [400], "9112 3.2"),
    (GET + A + b"host: b\r\n\r\n", [400], "9112 3.2"),
    (b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", [400], "9112 3.2"),
    (POST.replace(b"a\r", b"a b\r") + b"Content-Length: 1\r\n\r\nx", [400], "9112 3.2"),
    (b"GET http://b:80/x HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9112 3.2.2"),
    (b"GET http://u:p@b/x HTTP/1.1\r\n" + A + b"\r\n", [400], "9110 4.2.4"),
    (b"GET http://b:port/x HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2.2"),
    (b"GET http:///x HTTP/1.1\r\n" + A + b"\r\n", [400], "9110 4.2.1"),
]

REQUEST_LINES: list[Row] = [
    (b"OPTIONS * HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9112 3.2.4"),
    (b"GET * HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2.4"),
    (b"BREW / HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9110 9.1: the application's"),
    (get("/before") + b"BREW / HTTP/1.1\r\n" + A + b"\r\n", [200, 200, 200], "9110 9.1"),
    (b"BREW / HTTP/1.1\r\n" + A + b"Content-Length: 4\r\n\r\nabcd", [200, 200], "9110 9.1"),
    (b"PLAY / HTTP/1.1\r\n" + A + b"Transfer-Encoding: chunked\r\n\r\n" + LAST, [200, 200], "9110 9.1"),
    (POST + b"Content-Length: 4\r\n\r\n\r\n\r\nBREW / HTTP/1.1\r\n" + A + b"\r\n", [200, 200, 200], "9110 9.1"),
    (b"BREW / HTTP/1.1\r\n\r\n", [400], "9112 3.2"),
    (b"BREW / HTTP/1.1\r\n" + A + b"X : y\r\n\r\n", [400], "9112 5.1"),
    (b"brew / HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.1"),
    (get("/before") + b"brew / HTTP/1.1\r\n" + A + b"\r\n", [200, 501], "9110 9.1"),
    (POST + b"Content-Length: 4\r\n\r\n\r\n\r\nbrew / HTTP/1.1\r\n" + A + b"\r\n", [200, 501], "9110 9.1"),
    (get("/before") + b"PO / HTTP/1.1\r\n" + A + b"\r\n", [200, 501], "9110 9.1"),
    (b"brew / HTTP/1.1\r\n\r\n", [501], "9110 9.1: the line before its fields"),
    (b"brew / HTTP/1.1\r\n" + A + b"X : y\r\n\r\n", [501], "9110 9.1: the line before its fields"),
    (b"hello there\r\n\r\n", [501], "9110 9.1: a word and a blank"),
    (b"hello\r\n\r\n", [400], "9112 3"),
    (b"B" * 63 + b" / HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.1"),
    (b"B" * 64 + b" / HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3: no method is that long"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505], "9113 3.4"),
    (b"PRI / HTTP/1.1\r\n" + A + b"\r\n", [505], "9113 3.4"),
    (b"GETS / HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9110 9.1"),
    (b"GEt / HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.1"),
    (b"get / HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.1"),
    (b"CONNECT a:443 HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.3.6"),
    (b"G\xe9T / HTTP/1.1\r\n" + A + b"\r\n", [400], "9110 9.1"),
    (b"GET / HTTP/1.2\r\n" + A + b"\r\n", [505], "9110 15.6.6"),
    (b"GET / HTTP/1.2\r\n" + A + b"X : y\r\n\r\n", [505], "9110 15.6.6: the line before its fields"),
    (b"GET  /   HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9112 3: blanks between the parts of the line"),
    (b"GET / HTTP/2.0\r\n" + A + b"\r\n", [505], "9110 15.6.6"),
    (b"GET / HTTP/11\r\n" + A + b"\r\n", [400], "9112 2.3"),
    *(
        (method + b" " + target + protocol + b"\r\n" + A + b"\r\n", [400], "9112 2.3: the name is HTTP, in capitals")
        for method in (b"GET", b"POST", b"OPTIONS")
        for target in (b"/ ", b"/  ", b"http://a/ ", b"/RTSP/1.0 ")
        for protocol in (b"RTSP/1.0", b"RTSP/1.1", b"ICE/1.0", b"HTTPS/1.1", b"http/1.1", b"Http/1.1", b"XHTTP/1.1")
    ),
    *(
        (b"GET / " + protocol + b"\r\n" + A + b"\r\n", [400], "9112 2.3")
        for protocol in (
            b"HTT/1.1",
            b"HTTP1.1",
            b"HTTP /1.1",
            b"HTTP/ 1.1",
            b"HTTP/1",
            b"HTTP/1.",
            b"HTTP/.1",
            b"HTTP/1,1",
        )
    ),
    *(
        (method + b" / " + protocol + b"\r\n" + A + b"\r\n", [501], "9110 9.1: the method before the protocol")
        for method in (b"describe", b"PL", b"brew")
        for protocol in (b"RTSP/1.0", b"ICE/1.0", b"HTTPS/1.1", b"HTTP/1.2", b"HTTP/1.1\r\nX : y")
    ),
    *(
        (method + b" / " + protocol + b"\r\n" + A + b"\r\n", [status], "9112 2.3")
        for method in (b"DESCRIBE", b"SETUP", b"PLAY", b"SOURCE", b"BREW")
        for protocol, status in ((b"RTSP/1.0", 400), (b"ICE/1.0", 400), (b"HTTPS/1.1", 400), (b"HTTP/1.2", 505))
    ),
    (b"brew /x\x7f HTTP/1.1\r\n" + A + b"\r\n", [501], "9110 9.1: the method before the target"),
    (b"DESCRIBE /\0 HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2"),
    (b"SOURCE /x\x7f HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2"),
    (b"BREW /x\x7f HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2"),
    (get("/before") + b"GET / RTSP/1.0\r\n" + A + b"\r\n", [200, 400], "9112 2.3"),
    (POST + b"Content-Length: 5\r\n\r\nx RTSGET / RTSP/1.1\r\n" + A + b"\r\n", [200, 400], "9112 2.3"),
    (CHUNKED + b"5\r\nhello\r\n" + LAST + b"GET / RTSP/1.1\r\n" + A + b"\r\n", [200, 400], "9112 2.3"),
    (b"\r\n\r\nGET / RTSP/1.1\r\n" + A + b"\r\n", [400], "9112 2.3"),
    (b"GET / RTSP/1.1\r\n" + A + TE + b"\r\n" + LAST, [400], "9112 2.3"),
    (b"GET /RTSP/1.0 HTTP/1.1\r\n" + A + b"X: y RTSP/1.0\r\n\r\n", [200, 200], "9112 2.3: of the line alone"),
    (GET + b"X: RTSP/1.0\r\n" + A + b"\r\n", [200, 200], "9112 2.3: of the line alone"),
    (get("/before") + GET + b"X: RTSP/1.0\r\n" + A + b"\r\n", [200, 200, 200], "9112 2.3: of the line alone"),
    (POST + TE + b"X: RTSP/1.0\r\n\r\n" + LAST, [200, 200], "9112 2.3: of the line alone"),
    (POST + b"Content-Length: 11\r\n\r\n / RTSP/1.0\r", [200, 200], "9112 2.3: of the line alone"),
    (b"GET /\r\n\r\n", [400], "9112 3"),
    (b"GET / HTTP/1.1 \r\n" + A + b"\r\n", [400], "9112 3"),
    (b" GET / HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3"),
    (b"GET\t/ HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3"),
    (b"GET /#x HTTP/1.1\r\n" + A + b"\r\n", [200, 200], "9110 7.1"),
    (b"GET #x HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2.1"),
    (b"GET /\0 HTTP/1.1\r\n" + A + b"\r\n", [400], "9112 3.2"),
]

# Messages that end before they are whole: nothing is answered with 200, and nothing behind them is looked at.
TRUNCATED = [
    (GET, "9112 8"),
    (GET + A, "9112 8"),
    (POST + b"Content-Length: 5\r\n\r\n1234", "9112 8"),
    (CHUNKED + b"5\r\nhell", "9112 8"),
    (CHUNKED + b"5\r\nhello\r\n", "9112 8"),
    (CHUNKED + b"5\r\nhello\r\n0\r\n", "9112 8"),
]

ROWS = [*FRAMING, *CHUNKS, *LINES, *HOSTS, *REQUEST_LINES]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers when the body has come whole."""
    while (event := await receive())["type"] == "http.request":
        if not event["more_body"]:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            return


def statuses(parser: str, raw: bytes, each: int | None, *, eof: bool = False) -> list[int]:
    """What is answered to these bytes."""
    harness = Http1Harness(app, parser=parser)
    client = harness.connect().send(raw, each=each)
    if eof:
        client.eof()
    harness.settle()
    output, closed = client.transport.output, client.closed
    client.leave()
    harness.close()
    return [response.status for response in parse_responses(output, ended=closed)]


@pytest.mark.parametrize("each", [None, 1, 3])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("row", ROWS, ids=[f"{clause}-{raw[-40:]!r}" for raw, _, clause in ROWS])
def test_corpus(parser: str, row: Row, each: int | None) -> None:
    raw, expected, _ = row
    assert statuses(parser, raw + get("/behind"), each) == expected


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("before", [b"", b"\r\n", get("/before"), POST + b"Content-Length: 2\r\n\r\nGE"])
@pytest.mark.parametrize(("line", "status"), [(b"GET /  RTSP/1.1", 400), (b"GET / HTTP/1.1\r\nX: y RTSP/1.1", 200)])
def test_the_protocol_wherever_it_is_cut(parser: str, before: bytes, line: bytes, status: int) -> None:
    raw = before + line + b"\r\n" + A + b"\r\n"
    for at in range(len(before) + 1, len(raw)):
        harness = Http1Harness(app, parser=parser)
        client = harness.connect().send(raw[:at])
        client.transport.deliver(raw[at:])
        harness.settle()
        output = client.transport.output
        client.leave()
        harness.close()
        seen = [response.status for response in parse_responses(output, ended=status == 400)]
        assert seen == [200] * bool(before.strip()) + [status], raw[:at]


@pytest.mark.parametrize("each", [None, 1])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("raw", [raw for raw, _ in TRUNCATED])
def test_truncated(parser: str, raw: bytes, each: int | None) -> None:
    assert 200 not in statuses(parser, raw, each, eof=True)


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize(("came", "written"), [("HEAD", "GET"), ("GET", "HEAD")])
@pytest.mark.parametrize("length", [b"content-length", None])
def test_a_head_is_what_came_as_one(parser: str, came: str, written: str, length: bytes | None) -> None:
    """RFC 9110, 9.3.2: "the server MUST NOT send content in the response", whatever a middleware has written."""

    async def rewritten(scope: Scope, receive: Receive, send: Send) -> None:
        scope["method"] = written
        headers = [] if length is None else [(length, b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"bo", "more_body": True})
        await send({"type": "http.response.body", "body": b"dy"})

    harness = Http1Harness(rewritten, parser=parser)
    client = harness.connect().send(get(method=came) + get("/behind", method=came))
    assert [response.body for response in client.responses(came, came)] == [b"" if came == "HEAD" else b"body"] * 2
    client.leave()
    harness.close()
