"""What the HTTP/1.1 connections of one server have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.grammar import is_host
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.scope import Field, Origin
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.framing import OWN_FIELDS
from uvicorn_worker.http1.parsers import parser_factory
from uvicorn_worker.http1.reading_on import can_read_on
from uvicorn_worker.http1.response_head import FieldMemo
from uvicorn_worker.logs.spell import Refusals
from uvicorn_worker.proxies.believed_fields import Proxies

__all__ = ["Shared", "Upgrade"]

Upgrade = Callable[[RequestCycle], "RequestCycle | None"]
"""Answers a request for another protocol by a cycle that takes its place; None: it is served as plain HTTP."""

FirstHead = tuple[bytes, list[Field], "Origin | None", bool]
"""The bytes of fields, the fields, where the request comes from, and whether its connection persists."""


def decline(cycle: RequestCycle) -> None:
    """No other protocol is spoken here."""


# How many Host fields are remembered, and how long they may be.
MOST_HOSTS = 256
LONGEST_HOST = 256
# How many lines of fields are remembered: those of all connections, and clients make them up.
MOST_LINES = 512
# How many of them may be those of one name.
MOST_VALUES = 128


class Shared:
    """The parser, the proxies that are believed, and what is remembered of fields.

    Raises `ConfigError` where the parser can't do what an option asks for.
    """

    __slots__ = (
        "_cleared_at",
        "_full_at",
        "_kept",
        "_runtime",
        "crowded",
        "fast_size",
        "field_memo",
        "first",
        "first_proxied",
        "host_lines",
        "hosts",
        "lengths",
        "limit_fields",
        "lines",
        "make_parser",
        "names",
        "noted",
        "plain_names",
        "proxies",
        "reads_on",
        "refusals",
        "upgrade",
    )

    def __init__(self, runtime: Runtime, proxies: Proxies, upgrade: Upgrade = decline) -> None:
        config = runtime.config
        self._runtime = runtime
        # The tick at which there were too many lines.
        self._full_at = 0
        self.make_parser = parser_factory(config)
        self.proxies = proxies
        # Whether the rest of a body may be read past the transport.
        self.reads_on = can_read_on(runtime.loop)
        self.refusals = Refusals(runtime.loop, "HTTP/1.1")
        self.upgrade = upgrade
        # The request fields that are noted as they are read, where the peer is trusted.
        self.noted = OWN_FIELDS | proxies.names
        # Names of request fields, and what they are in lower case.
        self.names: dict[bytes, bytes] = {}
        # Host fields that were found valid, as name and value: few, and mostly one.
        self.hosts: set[tuple[bytes, bytes]] = set()
        # Names of plain request fields, lines of such fields, and lines of valid Host fields (known_heads.py).
        self.plain_names: dict[bytes, bytes] = {}
        self.lines: dict[bytes, tuple[bytes, bytes]] = {}
        self.host_lines: dict[bytes, tuple[bytes, bytes]] = {}
        # What the fields of first requests mean, without those of peers that are believed, and of these.
        self.first: dict[bytes, FirstHead] = {}
        self.first_proxied: dict[bytes, FirstHead] = {}
        # Small lengths of bodies, by their digits.
        self.lengths: dict[bytes, int] = {}
        # How many of the lines are those of a name, and at which tick a name had as many as it may.
        self._kept: dict[bytes, int] = {}
        self._cleared_at = 0
        self.crowded: dict[bytes, int] = {}
        # Response field lines that were checked and encoded before (response_head.py).
        self.field_memo: FieldMemo = {}
        self.limit_fields = config.limit_request_fields
        # A head that arrived whole in one read of this size at most can't exceed a size limit.
        limits = (config.limit_request_line, config.limit_request_field_size)
        self.fast_size = min([4096, *(limit for limit in limits if limit)])

    def remember_host(self, field: tuple[bytes, bytes]) -> bool:
        """Whether a field is a valid Host, which is remembered."""
        name, value = field
        if name != b"host" or len(value) > LONGEST_HOST or is_host(value) is None:
            return False
        if len(self.hosts) >= MOST_HOSTS:
            self.hosts.clear()
        self.hosts.add(field)
        return True

    def remember_field(self, line: bytes, field: tuple[bytes, bytes]) -> None:
        """Keep what the line of a plain field means.

        A name whose values are others each time has its fill after some of them, and does without until the next tick.
        """
        name, lines, kept = field[0], self.lines, self._kept
        number = kept.get(name, 0) + 1
        if number > MOST_VALUES or len(lines) >= MOST_LINES:
            tick = self._runtime.tick
            if tick == self._cleared_at:
                self.crowded[name] = tick
                return
            self._cleared_at = tick
            lines.clear()
            kept.clear()
            self.crowded.clear()
            number = 1
        kept[name] = number
        lines[line] = field

    def remember_line(self, lines: dict[bytes, Any], line: bytes, field: Any, most: int = MOST_LINES) -> None:
        """Keep what a line means in `lines`, which is one of ours; where most are others each time, not for each."""
        if len(lines) >= most:
            tick = self._runtime.tick
            if tick == self._full_at:
                return
            self._full_at = tick
            lines.clear()
        lines[line] = field
