"""The table of scenarios: what is asked of every server, and what it has to answer."""

from __future__ import annotations

from dataclasses import dataclass

from .load import Load, Wrk
from .wire import Request

# Names of the applications in benchmarks/apps, as every server takes them.
RAW = "raw:app"
FASTAPI = "fastapi_app:app"


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    app: str
    load: Load
    floor: bool = False
    """The fixed-bytes floor can serve it: the answer is the 13 bytes and the request has no body."""


HELLO = b"Hello, World!"
ONE_KILOBYTE = b"0123456789abcdef" * 64

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
        Wrk(Request("/download"), b"0123456789abcdef" * 65536),
    ),
    Scenario(
        "fastapi",
        "GET, a FastAPI route that returns JSON",
        FASTAPI,
        Wrk(_HELLO, b'{"message":"Hello, World!"}'),
    ),
)
