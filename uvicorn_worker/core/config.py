"""`Config`: every option of the server core, frozen once it is made.

Each option is defined here with its default, unit, range and meaning; the settings page of the
documentation is generated from these definitions. What is given for options by their names is checked in options.py.
The core reads nothing else: Gunicorn's settings are turned into a `Config` by `uvicorn_worker.worker.settings`,
the environment and `pyproject.toml` by `uvicorn_worker.core.sources`.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.option_rules import (
    ACCESS_LOG_FORMAT,
    APP,
    CALLABLE,
    CERT_REQS,
    ENV_FILES,
    FIELD_NAME,
    LOG_CONFIG,
    PATHS,
)
from uvicorn_worker.core.options import Options, section
from uvicorn_worker.core.paths import check_paths
from uvicorn_worker.core.records import record
from uvicorn_worker.core.rules import (
    ADDRESSES,
    COUNT,
    FLAG,
    HEADERS,
    NAMES,
    OPTIONAL_POSITIVE,
    OPTIONAL_SECONDS,
    OPTIONAL_TEXT,
    POSITIVE,
    POSITIVE_SECONDS,
    SECONDS,
    TEXT,
    TEXT_TABLE,
    WHERE,
    int_between,
    list_of,
    one_of,
)
from uvicorn_worker.core.spellings import AUTO_SWITCH, HTTP, LEVEL, LOOP, SWITCH, TLS_VERSION, WS

if TYPE_CHECKING:
    from configparser import RawConfigParser

__all__ = ["OPTIONS", "RULES", "Config", "longer_lines"]

application = section("Application")
protocols = section("Loop and HTTP")
http_2 = section("HTTP/2")
websocket = section("WebSocket")
responses = section("Responses")
proxies = section("Proxies")
tls = section("TLS")
limits = section("Limits")
timeouts = section("Timeouts")
logs = section("Logs")
watching = section("Metrics")


@record(frozen=True)
class Config:
    """The options of one `Server`. A value that can't be used raises `ConfigError`."""

    app: ASGIApp | str = application("", APP, "The ASGI application, or where to import it from.")
    factory: bool = application(False, FLAG, "Call what `app` names to get the application.")
    interface: str = application(
        "auto",
        one_of("auto", "asgi3", "asgi2", "wsgi"),
        "How the application is called: auto tells ASGI 3 from ASGI 2; WSGI is to be named.",
    )
    threads: int | None = application(
        None,
        OPTIONAL_POSITIVE,
        "How many threads serve a WSGI application; asyncio's default executor never has fewer than Python chooses.",
        "threads",
    )
    env_file: str | Sequence[str] | None = application(
        None,
        ENV_FILES,
        "A file of environment variables, or several, loaded with python-dotenv before the application. What is in the "
        "environment already wins; of two files the later one does.",
    )
    root_path: str = application("", TEXT, "The path that the application is mounted at (ASGI `root_path`).")
    asgi_spec_version: str = application(
        "2.3",
        one_of("2.0", "2.1", "2.2", "2.3", "2.4", "2.5"),
        "The version of ASGI HTTP that scopes name (`spec_version`). Where it is 2.4 or above, Starlette does not wait "
        "for its client's end while it streams, and learns of it only when it sends something.",
    )
    reset_contextvars: bool = application(
        False, FLAG, "Start each request with an empty context, not with a copy of the server's."
    )
    lifespan_contextvars: bool = application(
        False,
        FLAG,
        "Start each request with a copy of the context of the lifespan, as it was when its startup was complete.",
    )
    lifespan: str = application(
        "auto",
        one_of("auto", "on", "off"),
        "Whether the application's lifespan is run; auto also serves an application that has none.",
    )
    timeout_lifespan_startup: float | None = application(
        None, OPTIONAL_SECONDS, "How long the lifespan startup may take; None: no bound of its own.", "seconds"
    )
    timeout_lifespan_shutdown: float | None = application(
        None, OPTIONAL_SECONDS, "How long the lifespan shutdown may take; None: no bound of its own.", "seconds"
    )

    loop: str = protocols("auto", LOOP, "The event loop: auto takes uvloop where it is installed.")
    http: str | type[Any] = protocols(
        "auto",
        HTTP,
        "The HTTP/1.1 parser: auto takes httptools where it is installed; h2 is auto, with http2 on. A protocol class "
        "that is made as uvicorn makes its own, or `module:Class`, serves in the place of the server's.",
    )
    permit_unconventional_http_method: bool = protocols(
        False,
        FLAG,
        "Take methods of fewer than 3 or more than 20 characters, and with lower case or `#`, which are answered 501 "
        "otherwise.",
    )
    casefold_http_method: bool = protocols(
        False, FLAG, "Take the name of a method in lower case for the one in upper case."
    )
    permit_unconventional_http_version: bool = protocols(
        False,
        FLAG,
        "Serve requests of HTTP versions other than 1.0 and 1.1 as HTTP/1.1, one on each connection; they are answered "
        "505 otherwise.",
    )
    permit_obsolete_folding: bool = protocols(
        False,
        FLAG,
        "Take header fields that go on in a next line, which are answered 400 otherwise. h11 reads the requests then.",
    )
    strip_header_spaces: bool = protocols(
        False,
        FLAG,
        "Take header fields with white space before their colon, which are answered 400 otherwise: a proxy that reads "
        "them in another way lets requests be smuggled. h11 reads the requests then.",
    )
    header_map: str = protocols(
        "drop",
        one_of("drop", "refuse", "dangerous"),
        "What becomes of a header name with an underscore, which CGI-style names can't tell from a hyphen: it is left "
        "out, the request is answered 400, or it is passed on.",
    )

    http2: str = http_2(
        "off",
        SWITCH,
        "HTTP/2 beside HTTP/1.1: by ALPN over TLS, and in cleartext as http2_cleartext says.",
    )
    http2_cleartext: str = http_2(
        "both",
        one_of("off", "prior-knowledge", "upgrade", "both"),
        "How HTTP/2 begins without TLS; `Upgrade: h2c` is granted only to peers in forwarded_allow_ips.",
    )
    http2_engine: str = http_2(
        "auto",
        one_of("auto", "native", "h2"),
        "What reads and writes the frames of HTTP/2: the server itself, or the h2 library; `auto` is `native`.",
    )
    http2_max_concurrent_streams: int = http_2(
        100, POSITIVE, "How many requests a client may have under way on one HTTP/2 connection.", "streams"
    )
    http2_initial_window_size: int = http_2(
        131072,
        int_between(1, 2**31 - 1),
        "How much of a body a client may send on an HTTP/2 stream before the application has taken some.",
        "bytes",
    )
    http2_max_frame_size: int = http_2(
        16384, int_between(16384, 2**24 - 1), "The largest payload of an HTTP/2 frame from a client.", "bytes"
    )
    http2_max_header_list_size: int = http_2(
        65536,
        int_between(1024, 2**24),
        "The largest head of an HTTP/2 request, each field counting 32 bytes more; 431 above.",
        "bytes",
    )
    http2_early_hints: str = http_2(
        "on",
        one_of("off", "on"),
        "Whether early hints (status 103) are sent over HTTP/2, where early_hints is on; nginx's grpc_pass answers 502 "
        "to them.",
    )
    http2_ping_interval: float | None = http_2(
        None,
        OPTIONAL_SECONDS,
        "How long nothing comes on an HTTP/2 connection with running requests before a PING is sent; None: no pings.",
        "seconds",
    )
    http2_ping_timeout: float = http_2(
        20.0, SECONDS, "How long the answer to an HTTP/2 PING may take; the connection is cut then.", "seconds"
    )

    ws: str | type[Any] = websocket(
        "auto",
        WS,
        "WebSocket: auto and websockets serve it; none leaves the request to the application as plain HTTP. With a "
        "protocol class, uvicorn's own of `http` serve all connections, and it their WebSockets.",
    )
    ws_max_size: int = websocket(
        16777216, POSITIVE, "The largest WebSocket message from a client; the close code is 1009 above.", "bytes"
    )
    ws_max_queue: int = websocket(
        32, POSITIVE, "How many WebSocket messages wait for the application before reading pauses.", "messages"
    )
    ws_ping_interval: float | None = websocket(
        20.0, OPTIONAL_SECONDS, "From the last answer to the next WebSocket ping; None: no pings.", "seconds"
    )
    ws_ping_timeout: float | None = websocket(
        20.0,
        OPTIONAL_SECONDS,
        "How long a WebSocket pong may take; the close code is 1011 then. None: no limit.",
        "seconds",
    )
    ws_per_message_deflate: bool = websocket(True, FLAG, "Compress WebSocket messages with clients that offer it.")
    ws_close_timeout: float = websocket(
        10.0, SECONDS, "How long the client's answer to a WebSocket close frame is waited for.", "seconds"
    )

    server_header: bool = responses(True, FLAG, "Add `server: uvicorn` to responses that have no server field.")
    pathsend: str = responses(
        "auto",
        AUTO_SWITCH,
        "Offer the application to send whole files for it (`http.response.pathsend`), as Starlette's `FileResponse` "
        "and `StaticFiles` then ask for. Middleware that reads, changes or compresses bodies has to know such files: "
        "auto is off where Starlette or FastAPI has middleware that may not.",
    )
    sendfile: bool = responses(
        True, FLAG, "Let the kernel send the files that an application names (`http.response.pathsend`) where it can."
    )
    date_header: bool = responses(True, FLAG, "Add the date to responses that have no date field.")
    early_hints: bool = responses(
        True,
        FLAG,
        "Offer early hints (status 103) to applications, and send them; Varnish 7.1 answers 503 to them, nginx "
        "1.22 and clients such as Python's requests take them for the response.",
    )
    headers: Iterable[tuple[str | bytes, str | bytes]] = responses(
        [],
        HEADERS,
        "Fields added to every response; one of the same name set by the application wins. `Connection: close` closes "
        "connections of HTTP/1.1; other fields of the connection and of the framing are left out.",
    )

    proxy_headers: bool = proxies(
        True, FLAG, "Read what the proxies in forwarded_allow_ips say of the client and of the scheme."
    )
    forwarded_headers: str | Iterable[str] = proxies(
        "for,proto",
        list_of("for", "proto", "host", "port", "prefix", "forwarded"),
        "Which fields are read: X-Forwarded-For, -Host, -Port and -Prefix, those of secure_scheme_headers (proto), and "
        "Forwarded (RFC 7239).",
    )
    forwarded_allow_ips: str | Iterable[str] = proxies(
        "127.0.0.1,::1,unix",
        ADDRESSES,
        "The proxies that are believed: addresses, networks, `unix` for clients of a unix socket, `*` for all.",
    )
    secure_scheme_headers: Mapping[str, str] = proxies(
        {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
        TEXT_TABLE,
        "Header fields, and the value by which a proxy says with each that the client came over TLS; fields that "
        "contradict each other are answered with 400.",
    )
    forwarder_headers: str | Iterable[str] = proxies(
        "SCRIPT_NAME,PATH_INFO",
        NAMES,
        "Header fields with underscores that are passed on from the proxies in forwarded_allow_ips whatever header_map "
        "says.",
    )
    proxy_protocol: str = proxies(
        "off",
        one_of("off", "v1", "v2", "auto"),
        "The PROXY protocol, which each connection must begin with if it is on; auto: of either version.",
    )
    proxy_allow_ips: str | Iterable[str] = proxies(
        "127.0.0.1,::1,unix",
        ADDRESSES,
        "The proxies that may speak the PROXY protocol; written as forwarded_allow_ips.",
    )

    ssl_keyfile: str | None = tls(None, OPTIONAL_TEXT, "The file of the private key; None: it is in ssl_certfile.")
    ssl_certfile: str | None = tls(None, OPTIONAL_TEXT, "The file of the certificate and its chain; it turns TLS on.")
    ssl_keyfile_password: str | None = tls(None, OPTIONAL_TEXT, "The password of the private key.", secret=True)
    ssl_version: ssl.TLSVersion | str | None = tls(
        None, TLS_VERSION.or_none(), "The oldest TLS version that is spoken; None: TLS 1.2."
    )
    ssl_cert_reqs: int = tls(0, CERT_REQS, "Whether a client must show a certificate (ssl.CERT_*).")
    ssl_ca_certs: str | None = tls(None, OPTIONAL_TEXT, "The file of the authorities that sign client certificates.")
    ssl_ciphers: str | None = tls(None, OPTIONAL_TEXT, "The ciphers of TLS 1.2, as OpenSSL spells them; None: its own.")
    ssl_context_factory: Callable[..., ssl.SSLContext] | None = tls(
        None, CALLABLE, "Called with the Config and a function that makes the usual context; gives the one to be used."
    )

    backlog: int = limits(
        2048, POSITIVE, "How many connections the kernel queues for a listening socket.", "connections"
    )
    limit_connections: int | None = limits(
        None,
        OPTIONAL_POSITIVE,
        "How many connections are held at once: no more are accepted until one of them ends.",
        "connections",
    )
    limit_concurrency: int | None = limits(
        None,
        OPTIONAL_POSITIVE,
        "How many requests and WebSockets may run at once; 503 with Retry-After above, and the connection is kept.",
        "requests",
    )
    limit_max_requests: int | None = limits(
        None, OPTIONAL_POSITIVE, "How many requests are served before the server stops gracefully.", "requests"
    )
    limit_max_requests_jitter: int = limits(
        0, COUNT, "Up to how many requests are added to limit_max_requests, at random.", "requests"
    )
    limit_max_memory: int | None = limits(
        None,
        OPTIONAL_POSITIVE,
        "How much resident memory the process may have before the server stops gracefully.",
        "MiB",
    )
    worker_lifetime: float | None = limits(
        None,
        POSITIVE_SECONDS.or_none(),
        "How long the server serves before it stops gracefully, for another process to take its place. None: no limit.",
        "seconds",
    )
    worker_lifetime_jitter: float = limits(
        0, SECONDS, "Up to how many seconds are added to worker_lifetime, at random.", "seconds"
    )
    reload_surge: int | None = limits(
        None,
        OPTIONAL_POSITIVE,
        "With the master of this package: how many new workers boot at the same time at HUP. None: all of them.",
        "workers",
    )
    block_repeat_offenders: float | None = limits(
        None,
        POSITIVE_SECONDS.or_none(),
        "For how long a path is refused with 503 whose requests have blocked and cost two workers within that time.",
        "seconds",
    )
    limit_request_line: int = limits(8190, COUNT, "The longest request line; 414 above. 0: no limit.", "bytes")
    limit_request_fields: int = limits(100, POSITIVE, "How many header fields a request may have; 431 above.", "fields")
    limit_request_field_size: int = limits(
        8190, COUNT, "The longest header field, name and value; 431 above. 0: no limit.", "bytes"
    )
    limit_request_body: int | None = limits(
        None, COUNT.or_none(), "The longest request body; 413 above. None: no limit.", "bytes"
    )
    h11_max_incomplete_event_size: int | None = limits(
        None,
        OPTIONAL_POSITIVE,
        "uvicorn's word for the longest head: a larger value than the default of limit_request_line and of "
        "limit_request_field_size takes its place.",
        "bytes",
    )

    timeout_keep_alive: float = timeouts(
        5, SECONDS, "How long an idle connection is kept for the next request; 0: it is closed at once.", "seconds"
    )
    timeout_request_head: float = timeouts(
        10,
        SECONDS,
        "From the first byte of a request to the end of its head; 408 above. 0: no limit.",
        "seconds",
    )
    timeout_request_body: float | None = timeouts(
        60,
        POSITIVE_SECONDS.or_none(),
        "How long no byte of a body may come while the application waits for it; then 408, or http.disconnect once the "
        "response has begun. None: no limit.",
        "seconds",
    )
    timeout_write: float | None = timeouts(
        60,
        POSITIVE_SECONDS.or_none(),
        "How long a client may take none of the bytes that wait for it; then the connection is cut. None: no limit.",
        "seconds",
    )
    timeout_request: float | None = timeouts(
        None,
        POSITIVE_SECONDS.or_none(),
        "How long one request may be in the application; then it is cancelled, and answered 504 where nothing was "
        "sent. None: no limit.",
        "seconds",
    )
    timeout_disconnect: float | None = timeouts(
        None,
        OPTIONAL_SECONDS,
        "How long a request whose client has left may go on in the application before it is cancelled. None: as long "
        "as it wants.",
        "seconds",
    )
    timeout_graceful_shutdown: float | None = timeouts(
        None,
        OPTIONAL_SECONDS,
        "From the signal to the end: running requests are waited for, then cancelled. None: no bound.",
        "seconds",
    )
    timeout_drain_idle: float | None = timeouts(
        None,
        OPTIONAL_SECONDS,
        "How long idle keep-alive connections are still served at a stop, answering `Connection: close`. None: one "
        "second; a tenth of one for clients of the same machine where the stop comes by Ctrl+C or by `should_exit`.",
        "seconds",
    )
    timeout_drain_delay: float = timeouts(
        0,
        SECONDS,
        "How long connections are still accepted after the signal, so that a load balancer can take the server out "
        "first.",
        "seconds",
    )
    timeout_drain_spread: float | None = timeouts(
        None,
        OPTIONAL_SECONDS,
        "Over how long WebSockets are told of a stop (1012), and requests that wait for an event: all of their clients "
        "would be back in the same moment. A hundred a second are told where that takes less. None: a fifth of "
        "timeout_graceful_shutdown.",
        "seconds",
    )
    timeout_notify: float | None = timeouts(
        None,
        POSITIVE_SECONDS.or_none(),
        "From one heartbeat to the next; None: 1, or a quarter of Gunicorn's timeout if that is less.",
        "seconds",
    )
    callback_notify: Callable[[], Awaitable[None] | None] | None = timeouts(
        None,
        CALLABLE,
        "Called, and awaited where it is a coroutine function, with each heartbeat under Gunicorn, and otherwise each "
        "timeout_notify seconds, or 30.",
    )
    timeout_startup: float | None = timeouts(
        None,
        POSITIVE_SECONDS.or_none(),
        "How long importing the application and its lifespan startup may hold back the heartbeat; None: no longer than "
        "Gunicorn's timeout. Before Gunicorn 22 nothing can be longer than that.",
        "seconds",
    )

    log_config: Mapping[str, Any] | str | RawConfigParser | IO[str] | None = logs(
        None,
        LOG_CONFIG,
        "A logging configuration, applied before the application is loaded, in what it names over that of Gunicorn.",
    )
    use_colors: bool | None = logs(
        None,
        FLAG.or_none(),
        "Whether the formatters `default` and `access` of log_config colour their lines; None: on a terminal.",
    )
    log_level: str = logs(
        "info",
        LEVEL,
        "The level of uvicorn's loggers; trace also logs each ASGI message, on uvicorn.asgi.",
    )
    access_log: bool = logs(True, FLAG, "Write a line on the logger uvicorn.access for each request.")
    log_slow_requests: float | None = logs(
        None,
        POSITIVE_SECONDS.or_none(),
        "A request that takes longer is told of: when it passes that, with where its task stands, and at its end. "
        "None: none is.",
        "seconds",
    )
    log_loop_lag: float | None = logs(
        None,
        POSITIVE_SECONDS.or_none(),
        "Where the event loop stands still for longer, the log says who holds it, with the stack. None: it is not "
        "looked at.",
        "seconds",
    )
    request_id_header: str | None = logs(
        None,
        FIELD_NAME.or_none(),
        "A header field with an id of the request: taken from the client, or made (a UUID of version 7), for the "
        "application (`state`), the response and the log. None: there is none.",
    )
    paths: dict[str, dict[str, Any]] = logs(
        {},
        PATHS,
        "Other values of some options where the target of a request begins with a prefix; the longest wins. The "
        "responses to each of the first 32 are counted apart on the board.",
    )
    access_log_format: str | None = logs(
        None,
        ACCESS_LOG_FORMAT,
        "The form of an access line, of Gunicorn's atoms; None: the form that uvicorn gives it.",
    )

    metrics_bind: str | None = watching(
        None,
        WHERE.or_none(),
        "Where Prometheus is told the metrics of all workers, and Kubernetes whether the service is ready. None: "
        "nowhere.",
    )

    def __post_init__(self) -> None:
        OPTIONS.settle(self)
        object.__setattr__(self, "paths", check_paths(self.paths, OPTIONS.check_value))
        if self.http == "h2":
            object.__setattr__(self, "http", "auto")
            object.__setattr__(self, "http2", "on")
        for name, value in longer_lines(self).items():
            object.__setattr__(self, name, value)
        if self.lifespan_contextvars and self.reset_contextvars:
            raise ConfigError("options lifespan_contextvars and reset_contextvars: one of them excludes the other")
        delay, graceful = self.timeout_drain_delay, self.timeout_graceful_shutdown
        if delay and graceful is not None and delay >= graceful:
            raise ConfigError(
                f"option timeout_drain_delay = {delay!r}: must be less than timeout_graceful_shutdown = {graceful!r}"
            )


def longer_lines(config: Config) -> dict[str, int]:
    """The limits of lines that nobody has set, where h11_max_incomplete_event_size lets longer ones through."""
    longest = config.h11_max_incomplete_event_size
    if longest is None:
        return {}
    defaults = {name: OPTIONS.default(name) for name in ("limit_request_line", "limit_request_field_size")}
    return {name: longest for name, value in defaults.items() if getattr(config, name) == value < longest}


# What is given for options by their names, from wherever it comes, goes through this.
OPTIONS = Options(fields(Config))
RULES = OPTIONS.rules
