"""The proxies before the server, and which of the fields that they add are believed.

A connection asks once whether its peer is trusted (`trust.py`). Only then are its requests' fields noted as they are
read, and what was noted means the same each time: it is worked out once (`forwarded.py`) and remembered by its bytes.
"""

from __future__ import annotations

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.asgi import Scope
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.rules import split_list
from uvicorn_worker.core.scope import Field, Origin
from uvicorn_worker.proxies.forwarded import OriginReader
from uvicorn_worker.proxies.trust import Trust

__all__ = ["Proxies"]

_WEBSOCKET = {"http": "ws", "https": "wss"}


class Proxies:
    """What the requests of a connection owe to the proxies before it."""

    def __init__(self, config: Config, trust: Trust) -> None:
        self.trust = trust
        # What is known of clients, by their hosts.
        self.verdicts = trust.verdicts
        self._reader = OriginReader(config, trust)
        # The fields, in lower case, that are noted for `read` where the peer is trusted.
        self.names = self._reader.names
        self.origins = self._reader.origins
        # Whether names with underscores are anything special.
        self.screens = config.header_map != "dangerous"
        self._refuses = config.header_map == "refuse"
        passed = [name.lower().encode("latin-1", "replace") for name in split_list(config.forwarder_headers)]
        self._passes_all = b"*" in passed
        self._passed = frozenset(passed)

    def trusts_peer(self, client: Address | None, server: tuple[str, int | None] | None) -> bool:
        """Whether the peer of a connection is trusted, by its address and by ours.

        A TCP socket that was reset before it was looked at has no peer address either: that alone does not make it
        a unix socket, whose own address has no port.
        """
        if client is None and (server is None or server[1] is not None):
            return False
        return self.trust.trusts(client)

    def read(self, fields: tuple[Field, ...]) -> Origin:
        """Where a request comes from, by the fields of `names` that a trusted peer has sent, in their order.

        It is in `origins` from then on, if it is short. Raises `RequestRefused` (400) where they contradict each other.
        """
        return self._reader.read(fields)

    def located(self, scope: Scope) -> Scope:
        """A scope without it, as a trusted peer has it; fields that contradict each other say nothing."""
        if not self.trusts_peer(scope.get("client"), scope.get("server")):
            return scope
        fields = tuple(field for field in scope["headers"] if field[0] in self.names)
        if not fields:
            return scope
        try:
            origin = self.origins.get(fields) or self.read(fields)
        except RequestRefused:
            return scope
        located = {**scope, **origin.changes}
        if scope["type"] == "websocket":
            located["scheme"] = _WEBSOCKET.get(located["scheme"], located["scheme"])
        return located

    def screen(self, headers: list[Field], trusted: bool) -> list[Field]:
        """The headers without those whose names have an underscore, but for forwarder_headers of a trusted peer.

        Raises `RequestRefused` (400) for such a name where header_map says so.
        """
        kept = []
        for field in headers:
            name = field[0]
            if b"_" not in name or (trusted and (self._passes_all or name in self._passed)):
                kept.append(field)
            elif self._refuses:
                raise RequestRefused(400, f"an underscore in the header name {name.decode('latin-1')}")
        return kept
