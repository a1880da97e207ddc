"""The table of scenarios: what is asked of every server, and what it has to answer."""

from __future__ import annotations

from dataclasses import dataclass

from .load import H2load, Load, TlsVisits, WebSocketEcho, Wrk
from .websocket_wire import BINARY, Message
from .wire import VARIED, Request

# Names of the applications in benchmarks/apps, as every server takes them.
RAW = "raw:app"
FASTAPI = "fastapi_app:app"
STARLETTE = "starlette_app:app"
DJANGO = "django_app:app"
DJANGO_PROJECT = "django_project_app:app"
LITESTAR = "litestar_app:app"
QUART = "quart_app:app"
FILE = "file_app:app"
WEBSOCKET = "ws_echo:app"
# The same as RAW, where the servers speak HTTP/2.
HTTP2 = "raw:http2"
# The same as RAW, over TLS.
TLS = "raw:tls"


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    app: str
    load: Load
    floor: bool = False
    """The floor can serve it: answers of the 13 bytes to requests without a body, or messages that are all the same."""
    unit: str = "request"
    """What is counted."""
    connections: int = 0
    """A number of its own, in place of the option's."""
    default: bool = True
    """Measured without being asked for by name."""


HELLO = b"Hello, World!"
ONE_KILOBYTE = b"0123456789abcdef" * 64
TEN_KILOBYTES = ONE_KILOBYTE * 10
MEGABYTE = b"0123456789abcdef" * 65536
# What is answered where the body is not sent back.
RECEIVED = b"%d bytes"

# With Host, the eleven headers of a Chromium browser's navigation.
BROWSER_HEADERS = (
    ("connection", "keep-alive"),
    ("cache-control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=4f2f6e1b0c9d4a7f8e3b5a6c7d8e9f00; theme=dark; consent=1"),
)

# The request id and the cookie are others in each request, as in traffic that comes through a proxy from many users.
VARIED_HEADERS = (
    *BROWSER_HEADERS[:-1],
    ("cookie", f"session=4f2f6e1b0c9d4a7f8e3b5a6c{VARIED}; theme=dark; consent=1"),
    ("x-request-id", f"4a7f8e3b-5a6c-4d8e-9f00-4f2f{VARIED}"),
)

_HELLO = Request("/")

SCENARIOS = (
    Scenario("get", "GET, 13 bytes of text, Host header only", RAW, Wrk(_HELLO, HELLO), floor=True),
    Scenario(
        "get-browser",
        "GET, 13 bytes of text, eleven browser-like headers",
        RAW,
        Wrk(Request("/", headers=BROWSER_HEADERS), HELLO),
        floor=True,
    ),
    Scenario(
        "get-varied",
        "as get-browser, but with a cookie and a request id that are others in each request",
        RAW,
        Wrk(Request("/", headers=VARIED_HEADERS), HELLO),
        floor=True,
    ),
    *(
        Scenario(
            f"connection-each-{clients}",
            f"GET, 13 bytes of text, a connection for each request, {clients} clients",
            RAW,
            Wrk(Request("/", headers=(("connection", "close"),)), HELLO),
            connections=clients,
        )
        for clients in (4, 16, 64)
    ),
    Scenario(
        "post-1k",
        "POST of 1 KB, echoed",
        RAW,
        Wrk(Request("/echo", "POST", (("content-type", "text/plain"),), ONE_KILOBYTE), ONE_KILOBYTE),
    ),
    Scenario(
        "chunks-10",
        "GET, ten streamed chunks of 128 bytes",
        RAW,
        Wrk(Request("/chunks"), b"0123456789abcdef" * 8 * 10),
    ),
    Scenario(
        "pipeline-16",
        "sixteen pipelined GETs, 13 bytes of text each",
        RAW,
        Wrk(_HELLO, HELLO, pipeline=16),
        floor=True,
    ),
    Scenario(
        "download-1m",
        "GET, 1 MiB in one body message",
        RAW,
        Wrk(Request("/download"), MEGABYTE),
    ),
    Scenario(
        "download-16x64k",
        "GET, 1 MiB in sixteen body messages",
        RAW,
        Wrk(Request("/pieces"), MEGABYTE),
    ),
    Scenario(
        "file-1m",
        "GET, a file of 1 MiB by http.response.pathsend, or read by the application where there is no such extension",
        RAW,
        Wrk(Request("/file"), MEGABYTE),
    ),
    Scenario(
        "file-starlette",
        "GET, a file of 1 MiB by Starlette's FileResponse",
        FILE,
        Wrk(_HELLO, MEGABYTE),
    ),
    Scenario(
        "post-64k",
        "POST of 64 KiB, read and counted",
        RAW,
        Wrk(Request("/count", "POST", (), ONE_KILOBYTE * 64), RECEIVED % 65536),
        connections=16,
    ),
    Scenario(
        "post-1m",
        "POST of 1 MiB, read and counted",
        RAW,
        Wrk(Request("/count", "POST", (), MEGABYTE), RECEIVED % len(MEGABYTE)),
        connections=8,
    ),
    Scenario(
        "get-10k",
        "GET, 10 KB, 128 connections (of Granian's published scenarios)",
        RAW,
        Wrk(Request("/10k"), TEN_KILOBYTES),
        connections=128,
    ),
    Scenario(
        "echo-10k",
        "POST of 10 KB, echoed, 128 connections (of Granian's published scenarios)",
        RAW,
        Wrk(Request("/echo", "POST", (("content-type", "text/plain"),), TEN_KILOBYTES), TEN_KILOBYTES),
        connections=128,
    ),
    Scenario(
        "json",
        "GET, a Starlette route that returns JSON",
        STARLETTE,
        Wrk(_HELLO, b'{"message":"Hello, World!"}'),
    ),
    Scenario(
        "fastapi",
        "GET, a FastAPI route that returns JSON",
        FASTAPI,
        Wrk(_HELLO, b'{"message":"Hello, World!"}'),
    ),
    Scenario(
        "django",
        "GET, an async Django view that returns JSON, no middleware",
        DJANGO,
        Wrk(_HELLO, b'{"message": "Hello, World!"}'),
    ),
    Scenario(
        "django-project",
        "as django, with the seven middlewares of a project that startproject has made",
        DJANGO_PROJECT,
        Wrk(_HELLO, b'{"message": "Hello, World!"}'),
        default=False,
    ),
    Scenario(
        "litestar",
        "GET, a Litestar route that returns JSON",
        LITESTAR,
        Wrk(_HELLO, b'{"message":"Hello, World!"}'),
    ),
    Scenario(
        "quart",
        "GET, a Quart route that returns JSON",
        QUART,
        Wrk(_HELLO, b'{"message":"Hello, World!"}\n'),
    ),
    Scenario(
        "ws-echo-64",
        "WebSocket, 64 bytes of text echoed, one in flight",
        WEBSOCKET,
        WebSocketEcho(Message(64)),
        floor=True,
        unit="message",
    ),
    Scenario(
        "ws-echo-64x8",
        "WebSocket, 64 bytes of text echoed, eight in flight",
        WEBSOCKET,
        WebSocketEcho(Message(64), in_flight=8),
        floor=True,
        unit="message",
    ),
    Scenario(
        "ws-echo-64k",
        "WebSocket, 64 KiB of binary data echoed, one in flight, 32 connections",
        WEBSOCKET,
        WebSocketEcho(Message(65536, BINARY)),
        floor=True,
        unit="message",
        # With 16 a fast server idles now and then, since all messages are with the load.
        connections=32,
    ),
    Scenario(
        "ws-echo-64k-8",
        "WebSocket, 64 KiB of binary data echoed, one in flight, 8 connections",
        WEBSOCKET,
        WebSocketEcho(Message(65536, BINARY)),
        floor=True,
        unit="message",
        connections=8,
    ),
    Scenario(
        "ws-echo-64-deflate",
        "as ws-echo-64, with permessage-deflate",
        WEBSOCKET,
        WebSocketEcho(Message(64, deflate=True)),
        unit="message",
        default=False,
    ),
    Scenario(
        "h2-get",
        "HTTP/2, GET, 13 bytes of text, 8 connections with 16 streams each",
        HTTP2,
        H2load("/", HELLO),
        connections=8,
    ),
    Scenario(
        "h2-get-varied",
        "as h2-get, with another query in each of a thousand requests",
        HTTP2,
        H2load("/", HELLO, targets=1000),
        connections=8,
    ),
    Scenario(
        "h2-post-1k",
        "HTTP/2, POST of 1 KB, echoed, 8 connections with 16 streams each",
        HTTP2,
        H2load("/echo", ONE_KILOBYTE, ONE_KILOBYTE),
        connections=8,
    ),
    Scenario(
        "h2-download-1m",
        "HTTP/2, GET, 1 MiB in one body message, 8 connections with 4 streams each",
        HTTP2,
        H2load("/download", MEGABYTE, streams=4),
        connections=8,
    ),
    Scenario(
        "h2-download-16x64k",
        "HTTP/2, GET, 1 MiB in sixteen body messages, 8 connections with 4 streams each",
        HTTP2,
        H2load("/pieces", MEGABYTE, streams=4),
        connections=8,
    ),
    Scenario(
        "h2-post-64k",
        "HTTP/2, POST of 64 KiB, read and counted, 8 connections with 4 streams each",
        HTTP2,
        H2load("/count", RECEIVED % 65536, ONE_KILOBYTE * 64, streams=4),
        connections=8,
    ),
    *(
        Scenario(
            f"tls-{version.replace('.', '')}-{kind}",
            f"GET, 13 bytes of text, a TLS {version} connection for each request, {title}, 8 clients",
            TLS,
            TlsVisits(version, resumed=kind == "resumed"),
            unit="connection",
            connections=8,
        )
        for version in ("1.3", "1.2")
        for kind, title in (("full", "full handshakes"), ("resumed", "resumed sessions"))
    ),
    Scenario("tls-get", "GET over TLS, 13 bytes of text, Host header only", TLS, Wrk(_HELLO, HELLO, tls=True)),
    Scenario(
        "tls-get-10k",
        "GET over TLS, 10 KB in one body message",
        TLS,
        Wrk(Request("/10k"), TEN_KILOBYTES, tls=True),
    ),
)
