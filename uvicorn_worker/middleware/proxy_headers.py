"""`ProxyHeadersMiddleware`, where uvicorn has it: the client and the scheme as trusted proxies tell them.

It reads as the server does by its options proxy_headers and forwarded_allow_ips, with which nobody needs it.
"""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

__all__ = ["ProxyHeadersMiddleware"]

_WEBSOCKET = {"http": "ws", "https": "wss"}


class ProxyHeadersMiddleware:
    """X-Forwarded-For and X-Forwarded-Proto of the proxies in `trusted_hosts`: addresses, networks, `unix`, `*`."""

    def __init__(self, app: ASGIApp, trusted_hosts: Iterable[str] | str = "127.0.0.1") -> None:
        self.app = app
        hosts = trusted_hosts if isinstance(trusted_hosts, str) else list(trusted_hosts)
        self._own_proxies = Proxies(Config(app, forwarded_allow_ips=hosts), Trust(hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the scope is of; fields that contradict each other say nothing."""
        if scope["type"] in ("http", "websocket"):
            scope = self._own_located(scope)
        await self.app(scope, receive, send)

    def _own_located(self, scope: Scope) -> Scope:
        proxies = self._own_proxies
        if not proxies.trusts_peer(scope.get("client"), scope.get("server")):
            return scope
        fields = tuple(field for field in scope["headers"] if field[0] in proxies.names)
        if not fields:
            return scope
        try:
            origin = proxies.origins.get(fields) or proxies.read(fields)
        except RequestRefused:
            return scope
        located = {**scope, **origin.changes}
        if scope["type"] == "websocket":
            located["scheme"] = _WEBSOCKET.get(located["scheme"], located["scheme"])
        return located
