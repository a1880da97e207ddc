"""`ProxyHeadersMiddleware`, where uvicorn has it: the client and the scheme as trusted proxies tell them.

It reads as the server does by its options proxy_headers and forwarded_allow_ips, with which nobody needs it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.rules import no_addresses, split_list
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

__all__ = ["ProxyHeadersMiddleware"]


class _TrustedHosts:
    """For programs that ask what they have set: which peers are proxies, and whom X-Forwarded-For names behind them."""

    def __init__(self, trusted_hosts: Iterable[str] | str) -> None:
        hosts = split_list(trusted_hosts)
        self.own_proxies = Proxies(Config("a:b", forwarded_allow_ips=hosts), Trust(hosts))
        self.always_trust = hosts == ["*"]
        self.trusted_literals = {*no_addresses(hosts), *{"unix"}.intersection(hosts)}
        addresses = [each for each in hosts if each != "*" and each not in self.trusted_literals]
        self.trusted_networks = {ipaddress.ip_network(each, strict=False) for each in addresses if "/" in each}
        self.trusted_hosts = {ipaddress.ip_address(each) for each in addresses if "/" not in each}

    def __contains__(self, host: str | None) -> bool:
        return self.always_trust if not host else self.own_proxies.trust.trusts((host, 0))

    def get_trusted_client_address(self, x_forwarded_for: str) -> tuple[str, int]:
        """The client, host and port; no host where none is told."""
        origin = self.own_proxies.read(((b"x-forwarded-for", x_forwarded_for.encode("latin-1")),))
        return origin.changes.get("client") or ("", 0)


class ProxyHeadersMiddleware:
    """X-Forwarded-For and X-Forwarded-Proto of the proxies in `trusted_hosts`: addresses, networks, `unix`, `*`."""

    def __init__(self, app: ASGIApp, trusted_hosts: Iterable[str] | str = "127.0.0.1") -> None:
        self.app = app
        self.trusted_hosts = _TrustedHosts(trusted_hosts)
        self._own_proxies = self.trusted_hosts.own_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the scope is of; fields that contradict each other say nothing."""
        if scope["type"] in ("http", "websocket"):
            scope = self._own_proxies.located(scope)
        await self.app(scope, receive, send)
