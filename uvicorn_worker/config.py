"""`Config`: every option of the server core, frozen once it is made.

Each option is defined here with its default, unit, range and meaning; the settings page of the
documentation is generated from these definitions. The core reads nothing else: Gunicorn's settings
are turned into a `Config` by `uvicorn_worker.worker.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from uvicorn_worker.asgi import ASGIApp
from uvicorn_worker.errors import ConfigError

__all__ = ["Config"]


@dataclass(frozen=True)
class Rule:
    """What one option may be: `allowed` says it in words, `check` decides it."""

    allowed: str
    check: Callable[[Any], bool]


def is_int(value: Any) -> bool:
    # bool is an int to Python, but `backlog = True` is a mistake.
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return is_int(value) or isinstance(value, float)


def is_header_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(is_header_part(part) for part in pair)
        for pair in value
    )


def is_header_part(part: Any) -> bool:
    # RFC 9110, 5.5: no control characters; and only what one byte can hold.
    text = part.decode("latin-1") if isinstance(part, bytes) else part
    return isinstance(text, str) and not re.search(r"[^\t\x20-\x7e\x80-\xff]", text)


def one_of(*names: str) -> Rule:
    return Rule("one of " + ", ".join(names), names.__contains__)


FLAG = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("a string", lambda value: isinstance(value, str))
SECONDS = Rule("a number of seconds, 0 or more", lambda value: is_number(value) and value >= 0)
OPTIONAL_SECONDS = Rule(
    "None or a number of seconds, 0 or more", lambda value: value is None or (is_number(value) and value >= 0)
)
COUNT = Rule("a whole number, 0 or more", lambda value: is_int(value) and value >= 0)
POSITIVE = Rule("a whole number, 1 or more", lambda value: is_int(value) and value >= 1)
OPTIONAL_POSITIVE = Rule(
    "None or a whole number, 1 or more", lambda value: value is None or (is_int(value) and value >= 1)
)


def option(default: Any, rule: Rule, meaning: str, unit: str = "") -> Any:
    """A field of `Config`; the meaning and the unit end up in the documentation."""
    metadata = {"rule": rule, "meaning": meaning, "unit": unit}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """The options of one `Server`. A value that can't be used raises `ConfigError`."""

    app: ASGIApp | str = option(
        "",
        Rule(
            "an ASGI application, or 'module:attribute'",
            lambda value: callable(value) or (isinstance(value, str) and bool(value)),
        ),
        "The ASGI application, or where to import it from.",
    )
    factory: bool = option(False, FLAG, "Call what `app` names to get the application.")

    loop: str = option(
        "auto",
        Rule(
            "auto, uvloop, asyncio, or 'module:factory'",
            lambda value: isinstance(value, str) and (value in ("auto", "uvloop", "asyncio") or ":" in value),
        ),
        "The event loop: auto takes uvloop where it is installed.",
    )
    http: str = option(
        "auto",
        one_of("auto", "httptools", "h11"),
        "The HTTP/1.1 parser: auto takes httptools where it is installed.",
    )

    ws: str = option(
        "auto",
        one_of("auto", "websockets", "none"),
        "WebSocket: auto and websockets serve it; none leaves the request to the application as plain HTTP.",
    )
    ws_max_size: int = option(
        16777216, POSITIVE, "The largest WebSocket message from a client; the close code is 1009 above.", "bytes"
    )
    ws_max_queue: int = option(
        32, POSITIVE, "How many WebSocket messages wait for the application before reading pauses.", "messages"
    )
    ws_ping_interval: float | None = option(
        20.0, OPTIONAL_SECONDS, "From the last answer to the next WebSocket ping; None: no pings.", "seconds"
    )
    ws_ping_timeout: float | None = option(
        20.0,
        OPTIONAL_SECONDS,
        "How long a WebSocket pong may take; the close code is 1011 then. None: no limit.",
        "seconds",
    )
    ws_per_message_deflate: bool = option(True, FLAG, "Compress WebSocket messages with clients that offer it.")
    ws_close_timeout: float = option(
        10.0, SECONDS, "How long the client's answer to a WebSocket close frame is waited for.", "seconds"
    )

    lifespan: str = option(
        "auto",
        one_of("auto", "on", "off"),
        "Whether the application's lifespan is run; auto also serves an application that has none.",
    )
    timeout_lifespan_startup: float | None = option(
        None, OPTIONAL_SECONDS, "How long the lifespan startup may take; None: no bound of its own.", "seconds"
    )
    timeout_lifespan_shutdown: float | None = option(
        None, OPTIONAL_SECONDS, "How long the lifespan shutdown may take; None: no bound of its own.", "seconds"
    )

    root_path: str = option("", TEXT, "The path that the application is mounted at (ASGI `root_path`).")
    server_header: bool = option(True, FLAG, "Add `server: uvicorn` to responses that have no server field.")
    date_header: bool = option(True, FLAG, "Add the date to responses that have no date field.")
    headers: Iterable[tuple[str | bytes, str | bytes]] = option(
        [],
        Rule("a list of (name, value) pairs without control characters", is_header_list),
        "Fields added to every response; one of the same name set by the application wins.",
    )
    access_log: bool = option(True, FLAG, "Write a line on the logger uvicorn.access for each request.")

    backlog: int = option(
        2048, POSITIVE, "How many connections the kernel queues for a listening socket.", "connections"
    )
    limit_request_line: int = option(4094, COUNT, "The longest request line; 414 above. 0: no limit.", "bytes")
    limit_request_fields: int = option(100, POSITIVE, "How many header fields a request may have; 431 above.", "fields")
    limit_request_field_size: int = option(
        8190, COUNT, "The longest header field, name and value; 431 above. 0: no limit.", "bytes"
    )
    limit_concurrency: int | None = option(
        None,
        OPTIONAL_POSITIVE,
        "How many requests and WebSockets may run at once; 503 with Retry-After above, and the connection is kept.",
        "requests",
    )
    limit_max_requests: int | None = option(
        None, OPTIONAL_POSITIVE, "How many requests are served before the server stops gracefully.", "requests"
    )
    limit_max_requests_jitter: int = option(
        0, COUNT, "Up to how many requests are added to limit_max_requests, at random.", "requests"
    )

    timeout_keep_alive: float = option(
        5, SECONDS, "How long an idle connection is kept for the next request; 0: it is closed at once.", "seconds"
    )
    timeout_request_head: float = option(
        10,
        SECONDS,
        "From accept, or from the first byte of a following request, to the end of the head; 408 above. 0: no limit.",
        "seconds",
    )
    timeout_graceful_shutdown: float | None = option(
        None,
        OPTIONAL_SECONDS,
        "From the signal to the end: running requests are waited for, then cancelled. None: no bound.",
        "seconds",
    )
    timeout_drain_idle: float = option(
        1.0,
        SECONDS,
        "How long idle keep-alive connections are still served at a stop, answering `Connection: close`.",
        "seconds",
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            rule: Rule = item.metadata["rule"]
            if not rule.check(value):
                raise ConfigError(f"option {item.name} = {value!r}: must be {rule.allowed}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any], source: str) -> Config:
        """A `Config` from options that came from `source` (named in the error): unknown ones are refused."""
        known = [item.name for item in fields(cls)]
        for name, value in options.items():
            if name not in known:
                allowed = ", ".join(sorted(known))
                raise ConfigError(f"option {name} = {value!r} (from {source}): unknown; the options are {allowed}")
        try:
            return cls(**options)
        except ConfigError as exc:
            raise ConfigError(f"{exc} (from {source})") from None
