"""`Runtime`: what all connections of one server share.

The server makes it, every protocol room reads it. It holds no wire format and no socket: only the
application, the limits in the form that the hot path wants, the sets of what is under way, and counters.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from uvicorn_worker.core.address import Address, Endpoints, server_address
from uvicorn_worker.core.asgi import ASGIApp, raw_path_of
from uvicorn_worker.core.clock import date_line, ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.kernel import is_uvloop, writelines_pauses

__all__ = [
    "AccessHook",
    "Connection",
    "CycleView",
    "Field",
    "Origin",
    "Proxies",
    "Runtime",
    "end_loop",
]

Field = tuple[bytes, bytes]
"""Name and value of a header field."""

Starter = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None] | None"]


class Connection(Protocol):
    """What the server asks of a connection, whatever protocol it speaks."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no request is received, run or answered, and it is not being closed."""

    @property
    def lingering(self) -> bool:
        """Whether everything was sent that will be, and only the client's end is waited for."""

    def on_tick(self, tick: int) -> None:
        """Called twice a second with the count of ticks: deadlines are met here."""

    def drain(self) -> None:
        """The server stops: say so to the client where the protocol has a way to."""

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it, or has come and was not read yet.

        One that is being closed already is not to linger for long. Called again and again while the server stops.
        """

    def abort(self) -> None:
        """Cut the connection at once."""


class CycleView(Protocol):
    """One request in the application and its response, as the server and the access log see it."""

    scope: dict[str, Any]
    target: bytes
    task: asyncio.Task[None] | None
    status: int
    response_headers: Any
    body_sent: int
    started: float

    def disconnect(self) -> None:
        """Tell the application that the client is gone."""

    def abandon(self) -> None:
        """Answer in the place of the application, which is not waited for any longer."""

    def check_time(self, now: float) -> None:
        """Called at each tick where timeout_request or timeout_disconnect is set; `now` is of time.monotonic()."""


AccessHook = Callable[[CycleView], None]


class Rewriting(Protocol):
    """What the proxies of a request tell of the URL that the client has asked for."""

    def apply(self, scope: dict[str, Any], raw_root_path: bytes) -> None:
        """Put it into a scope that is complete but for this; `raw_root_path` is what its raw_path begins with."""


class Origin(Protocol):
    """Where a request comes from, as its proxies tell it: entries of the scope, and how to rewrite others."""

    @property
    def changes(self) -> dict[str, Any]:
        """The entries of the scope that are told."""

    @property
    def rewriting(self) -> Rewriting | None:
        """What else there is to be done; None: nothing."""


class Trust(Protocol):
    """Which peers are proxies that are believed."""

    def trusts(self, address: Address | None) -> bool:
        """Whether the peer of this (host, port) is trusted; None is the client of a unix socket."""


class Proxies(Protocol):
    """What the requests of a connection owe to the proxies before it."""

    screens: bool

    @property
    def origins(self) -> Mapping[tuple[Field, ...], Origin]:
        """What was read before."""

    def trusts_peer(self, client: Address | None, server: tuple[str, int | None] | None) -> bool:
        """Whether the peer of a connection is trusted, by its address and by ours."""

    def read(self, fields: tuple[Field, ...]) -> Origin:
        """Where a request comes from, by the `noted_fields` that a trusted peer has sent; may refuse it."""

    def screen(self, headers: list[Field], trusted: bool) -> list[Field]:
        """The headers without names that have an underscore, where `screens`; may refuse the request."""


class Runtime:
    """State shared by the connections of one server; see the module's text."""

    # What other rooms may assign; everything else is what the constructor made of it. tests/test_house.py holds it.
    COUNTERS = frozenset({"requests"})
    STATES = frozenset({"connections", "cycles", "draining", "read_buffer", "state"})

    __slots__ = (
        "access",
        "app",
        "can_writelines",
        "config",
        "connections",
        "context",
        "cycles",
        "default_lines",
        "defaulted",
        "draining",
        "extended_connect",
        "extra_lines",
        "fast_size",
        "field_memo",
        "field_names",
        "keep_alive_ticks",
        "limit_body",
        "limit_cycles",
        "limit_fields",
        "limit_requests",
        "log",
        "loop",
        "make_parser",
        "noted_fields",
        "now",
        "on_limit",
        "proxies",
        "raw_root_path",
        "read_buffer",
        "request_body_ticks",
        "request_head_ticks",
        "requests",
        "scopes",
        "sends_date",
        "server_line",
        "start_task",
        "state",
        "tick",
        "times_requests",
        "tls_extension",
        "trust",
        "upgrade",
        "write_ticks",
    )

    def __init__(self, config: Config, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.app = app
        self.loop = loop
        self.log = logging.getLogger("uvicorn.error")
        self.access: AccessHook | None = None
        self.can_writelines = is_uvloop(loop) or writelines_pauses(tuple(sys.version_info[:3]))
        self.make_parser: Callable[[Any], Any]
        # Whose word is taken for where requests come from, and what is made of it (proxies/believed_fields.py).
        self.trust: Trust
        self.proxies: Proxies
        # The request fields that are noted as they are read, where the peer is trusted.
        self.noted_fields: frozenset[bytes]

        self.state: dict[str, Any] = {}
        self.context = contextvars.copy_context()
        self.start_task: Starter = self._make_starter()

        self.connections: set[Connection] = set()
        self.cycles: set[CycleView] = set()
        self.draining = False
        self.requests = 0
        self.limit_requests = sys.maxsize
        self.limit_cycles = config.limit_concurrency or sys.maxsize
        self.on_limit: Callable[[], None] = _nothing
        # Answers a request for another protocol by a cycle that takes its place; None declines it.
        self.upgrade: Callable[[Any], Any] = _decline
        # The same for an extended CONNECT of HTTP/2 (RFC 8441).
        self.extended_connect: Callable[[Any], Any] = _decline
        # What the `tls` extension says of a connection; None leaves it out.
        self.tls_extension: Callable[[Any], dict[str, Any]] | None = None
        # What all scopes of one listening address have in common, by (address, scheme).
        self.scopes: dict[Any, dict[str, Any]] = {}

        # What large reads go into, once there are any (switching/large_reads.py).
        self.read_buffer: memoryview | None = None

        self.tick = 0
        # time.monotonic() at the last tick: a time of day for what needs no better one.
        self.now = time.monotonic()
        self.keep_alive_ticks = ticks(config.timeout_keep_alive) if config.timeout_keep_alive else 0
        self.request_head_ticks = ticks(config.timeout_request_head) if config.timeout_request_head else 0
        self.request_body_ticks = ticks(config.timeout_request_body) if config.timeout_request_body else 0
        self.write_ticks = ticks(config.timeout_write) if config.timeout_write else 0
        # Whether each tick looks at the time that the requests have taken.
        self.times_requests = config.timeout_request is not None or config.timeout_disconnect is not None
        # A head that arrived whole in one read of this size at most can't exceed a size limit.
        limits = (config.limit_request_line, config.limit_request_field_size)
        self.fast_size = min([4096, *(limit for limit in limits if limit)])

        self.limit_fields = config.limit_request_fields
        self.limit_body = sys.maxsize if config.limit_request_body is None else config.limit_request_body
        self.raw_root_path = raw_path_of(config.root_path)

        self.extra_lines, names = _extra_lines(config)
        self.server_line = b"server: uvicorn\r\n" if config.server_header and b"server" not in names else b""
        self.sends_date = config.date_header and b"date" not in names
        # The names of which the application's own field takes the place of ours.
        self.defaulted = names | {b"date", b"server"}
        self.default_lines = b""
        self.refresh_default_lines()
        # Response field lines that were checked and encoded before (http1/response_head.py).
        self.field_memo: dict[tuple[bytes, bytes], bytes] = {}
        # Names of request fields, and what they are in lower case (http1/input.py).
        self.field_names: dict[bytes, bytes] = {}

    def count_tick(self) -> None:
        """Half a second has passed."""
        self.tick += 1

    def on_tick(self, now: float) -> None:
        """Meet the deadlines of the tick that `tick` counts; `now` is of time.monotonic()."""
        self.now = now
        self.refresh_default_lines()
        for connection in list(self.connections):
            try:
                connection.on_tick(self.tick)
            except Exception as exc:
                # The others have deadlines too.
                self.log.error("Error at a deadline of a connection", exc_info=exc)
                connection.abort()
        if self.times_requests:
            for cycle in list(self.cycles):
                cycle.check_time(now)

    def refresh_default_lines(self) -> None:
        """Make the field lines that head every response anew; called each second, for the date."""
        date = date_line(time.time()) if self.sends_date else b""
        self.default_lines = date + self.server_line + self.extra_lines

    def default_lines_without(self, names: set[bytes]) -> bytes:
        """The default field lines but for those whose names the application has set itself."""
        lines = self.default_lines.split(b"\r\n")[:-1]
        return b"".join(line + b"\r\n" for line in lines if line.partition(b":")[0] not in names)

    def use_context(self, context: contextvars.Context) -> None:
        """Give each request a copy of `context` from now on."""
        self.context = context
        self.start_task = self._make_starter()

    def http_scope(self, transport: asyncio.BaseTransport, endpoints: Endpoints | None = None) -> dict[str, Any]:
        """What the HTTP scopes of a connection have in common; without TLS, of all to one listening address.

        `endpoints` is what a proxy tells of the connection, which then counts.
        """
        address = server_address(transport) if endpoints is None else endpoints.server
        secure = transport.get_extra_info("sslcontext") or (endpoints is not None and endpoints.secure)
        scheme = "https" if secure else "http"
        scope = self.scopes.get((address, scheme))
        if scope is None:
            if len(self.scopes) >= _MOST_SCOPES:
                self.scopes.clear()
            scope = self.scopes[address, scheme] = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.5"},
                "http_version": "1.1",
                "server": address,
                "scheme": scheme,
                "root_path": self.config.root_path,
                # Set for each request; named here so that the copy of the dictionary has room for them.
                "method": "",
                "path": "",
                "raw_path": b"",
                "query_string": b"",
                "headers": [],
                "client": None,
                "state": {},
            }
        # A proxy may have ended the TLS that makes the scheme https.
        if self.tls_extension is not None and transport.get_extra_info("sslcontext"):
            extension = self.tls_extension(transport.get_extra_info("ssl_object"))
            return {**scope, "extensions": {**scope.get("extensions", {}), "tls": extension}}
        return scope

    def _make_starter(self) -> Starter:
        """The cheapest way that this Python has to start a request's task in a copy of the context."""
        loop, context = self.loop, self.context
        if self.config.reset_contextvars:
            context = contextvars.Context()
        # Typed as Any: `context` and `eager_start` are not known to every Python that is supported.
        task: Any = asyncio.Task
        version = tuple(sys.version_info)
        if loop.get_task_factory() is not None or version < (3, 11):
            # A task factory is the operator's own choice, and is asked. In Python 3.10 a task copies the
            # context that it is made in; a copy, since a context can't be entered twice, as eager tasks might.
            return lambda coroutine: context.copy().run(loop.create_task, coroutine)
        if version < (3, 12):
            return lambda coroutine: task(coroutine, loop=loop, name="request", context=context.copy())

        def start_eagerly(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
            # The application runs at once, up to where it first has to wait.
            try:
                started: asyncio.Task[None] = task(
                    coroutine, loop=loop, name="request", context=context.copy(), eager_start=True
                )
            except (SystemExit, KeyboardInterrupt) as exc:
                end_loop(loop, exc)
                return None
            return started

        return start_eagerly


def end_loop(loop: asyncio.AbstractEventLoop, exc: BaseException) -> None:
    """Raise SystemExit or KeyboardInterrupt where the event loop ends by it.

    A transport of uvloop that calls its protocol takes them for an error of the connection.
    """
    loop.call_soon(_raise, exc)


def _raise(exc: BaseException) -> None:
    raise exc


# A proxy may serve, and tell of, more addresses than a host has.
_MOST_SCOPES = 256


def _decline(cycle: Any) -> None:
    """Every request for another protocol is served as plain HTTP."""


def _nothing() -> None:
    """What happens at the limit of requests where there is no server."""


def _extra_lines(config: Config) -> tuple[bytes, frozenset[bytes]]:
    """The field lines of `Config.headers`, and the names in them."""
    lines, names = [], set()
    for name, value in config.headers:
        raw_name = (name.encode("latin-1") if isinstance(name, str) else name).lower()
        raw_value = value.encode("latin-1") if isinstance(value, str) else value
        lines.append(raw_name + b": " + raw_value + b"\r\n")
        names.add(raw_name)
    return b"".join(lines), frozenset(names)
