"""The head of an HTTP/2 response: fields checked, and put in the form that the engine sends.

As in HTTP/1.1, what an application sends again and again is checked once and remembered. What is remembered is in
the engine's own form, which is the same for all connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.response_fields import HOP_BY_HOP, LENGTH_DIGITS, as_pair, check_field, read_length
from uvicorn_worker.core.runtime import Address, Endpoints, Runtime
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.engine.limits import Limits

__all__ = ["Shared", "engine_class"]

# RFC 9113, 8.2.2: what says something of an HTTP/1.1 connection has no place here.
_LEFT_OUT = HOP_BY_HOP | {b"upgrade"}

# As in http1/response_head.py: long values differ each time.
_MEMO_SIZE = 2048
_MEMO_LONGEST = 128

# Prepared Content-Length fields of so many lengths are kept.
_LENGTHS = 1024


class Shared:
    """What the HTTP/2 connections of one server have in common: the engine, its limits, prepared fields."""

    __slots__ = (
        "_default_lines",
        "_default_names",
        "_defaults",
        "_lengths",
        "_memo",
        "forwarded",
        "limits",
        "make_engine",
        "ping_ticks",
        "ping_timeout_ticks",
        "prepare",
        "runtime",
    )

    def __init__(self, runtime: Runtime, engine: type[Engine], forwarded: frozenset[bytes] = frozenset()) -> None:
        self.runtime = runtime
        # The fields of requests that say where they come from, if the peer is trusted.
        self.forwarded = forwarded
        self.limits = Limits.from_config(runtime.config)
        self.make_engine: Callable[[Limits], Engine] = engine
        self.prepare: Callable[[bytes, bytes], Any] = engine.prepare
        config = runtime.config
        self.ping_ticks = ticks(config.http2_ping_interval) if config.http2_ping_interval else 0
        self.ping_timeout_ticks = ticks(config.http2_ping_timeout)
        self._memo: dict[tuple[bytes, bytes], Any] = {}
        self._lengths: dict[int, Any] = {}
        # The server's own fields, and the lines of the runtime that they were made of.
        self._default_lines = b""
        self._default_names: list[bytes] = []
        self._defaults: list[Any] = []

    def scope_base(
        self, transport: asyncio.BaseTransport, client: Address | None, endpoints: Endpoints | None
    ) -> dict[str, Any]:
        """What the scopes of all requests on one connection have in common."""
        scope = self.runtime.http_scope(transport, endpoints).copy()
        scope["http_version"] = "2"
        scope["client"] = client
        scope["extensions"] = {
            **scope.get("extensions", {}),
            "http.response.trailers": {},
            "http.response.early_hint": {},
        }
        return scope

    def length(self, length: int) -> Any:
        """The prepared Content-Length."""
        prepared = self._lengths.get(length)
        if prepared is None:
            prepared = self.prepare(b"content-length", b"%d" % length)
            if len(self._lengths) < _LENGTHS:
                self._lengths[length] = prepared
        return prepared

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[Any], int | None]:
        """The prepared fields of a response, those of the server with them, and its Content-Length.

        That field is not among them, since it depends on the status whether it is sent. Raises `ApplicationError`
        for what must not reach the wire.
        """
        fields: list[Any] = []
        length, present = self._encode(headers, fields)
        if self._default_lines is not self.runtime.default_lines:
            self._refresh()
        if present is None:
            fields += self._defaults
        else:
            both = zip(self._default_names, self._defaults, strict=True)
            fields += [prepared for name, prepared in both if name not in present]
        return fields, length

    def _encode(
        self, headers: Iterable[tuple[bytes, bytes]], fields: list[Any]
    ) -> tuple[int | None, set[bytes] | None]:
        memo = self._memo
        length: int | None = None
        present: set[bytes] | None = None
        for field in headers:
            try:
                prepared = memo.get(field)
                if prepared is not None:
                    fields.append(prepared)
                    continue
                name, value = field
            except (TypeError, ValueError):
                # A list, which ASGI allows and which has no hash, or something that is no header at all.
                name, value = as_pair(field)
            if name == b"content-length" and length is None and value.isdigit() and len(value) <= LENGTH_DIGITS:
                length = int(value)
                continue
            check_field(name, value)
            lowered = name.lower()
            if lowered == b"content-length":
                length = read_length(value, length)
            elif lowered not in _LEFT_OUT:
                # 8.2.1: a value must not begin or end with white space.
                prepared = self.prepare(lowered, value.strip(b" \t"))
                fields.append(prepared)
                if lowered in self.runtime.defaulted:
                    present = (present or set()) | {lowered}
                elif len(name) + len(value) <= _MEMO_LONGEST:
                    if len(memo) >= _MEMO_SIZE:
                        memo.clear()
                    memo[name, value] = prepared
        return length, present

    def informational(self, headers: Iterable[tuple[bytes, bytes]]) -> list[Any]:
        """The prepared fields of trailers, or of a response before the final one: the application's alone."""
        fields: list[Any] = []
        if self._encode(headers, fields)[0] is not None:
            raise ApplicationError("content-length is no field of trailers, nor of an informational response")
        return fields

    def _refresh(self) -> None:
        """Prepare the server's own fields anew, since the second has changed."""
        lines = self._default_lines = self.runtime.default_lines
        fields = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
        fields = [field for field in fields if field[0] not in _LEFT_OUT]
        self._default_names = [name for name, _, _ in fields]
        self._defaults = [self.prepare(name, value.strip(b" \t")) for name, _, value in fields]


def engine_class(config: Config) -> Any:
    """The engine that option http2_engine asks for."""
    # Loaded where HTTP/2 is on, and not before.
    if config.http2_engine == "h2":
        from uvicorn_worker.http2.engine.h2 import H2Engine

        return H2Engine
    from uvicorn_worker.http2.engine.native.engine import NativeEngine

    return NativeEngine
