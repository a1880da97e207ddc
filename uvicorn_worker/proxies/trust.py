"""Which peers are proxies: addresses, networks, the clients of unix sockets."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.rules import no_addresses, split_list

__all__ = ["Trust", "address_number"]

# Verdicts are remembered up to this number, and then anew: clients say which addresses are asked for.
_MOST_VERDICTS = 4096
# No address is longer, but for zones.
_LONGEST_HOST = 64

# ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
_MAPPED = 0xFFFF << 32
_MAPPED_PREFIX = 96
_ZONE = r"[\w.~-]+"


class Trust:
    """Whether a peer is trusted, by the items of an option such as forwarded_allow_ips.

    An IPv4 address and its IPv4-mapped form (`::ffff:192.0.2.1`, RFC 4291, 2.5.5.2) are the same; so all addresses are
    compared as IPv6 ones. The zone of a scoped address is left out.
    """

    def __init__(self, allowed: str | Iterable[str]) -> None:
        items = split_list(allowed)
        self._everyone = "*" in items
        self._unix = self._everyone or "unix" in items
        # What is no address matches no peer: that was said before the start.
        nobody = no_addresses(items)
        self._networks = [_network_number(item) for item in items if item not in ("*", "unix", *nobody)]
        self.verdicts: dict[str, bool] = {}

    def trusts(self, address: Address | None) -> bool:
        """Whether the peer of this (host, port) is trusted; None is the client of a unix socket."""
        if address is None:
            return self._unix
        if self._everyone:
            return True
        host = address[0]
        verdict = self.verdicts.get(host)
        if verdict is None:
            verdict = self._decide(host)
            if len(host) <= _LONGEST_HOST:
                if len(self.verdicts) >= _MOST_VERDICTS:
                    self.verdicts.clear()
                self.verdicts[host] = verdict
        return verdict

    def _decide(self, host: str) -> bool:
        number = address_number(host)
        return number is not None and any(number & mask == network for mask, network in self._networks)


def _network_number(text: str) -> tuple[int, int]:
    """Mask and address of a network, or of one address, as those of IPv6."""
    network = ipaddress.ip_network(text, strict=False)
    address, prefix = int(network.network_address), network.prefixlen
    if network.version == 4:
        address |= _MAPPED
        prefix += _MAPPED_PREFIX
    return (1 << 128) - (1 << (128 - prefix)), address


def address_number(host: str) -> int | None:
    """An IP address as the number of its IPv6 form; None for what is no address."""
    if "\0" in host:
        # PyPy's inet_pton reads as far as that.
        return None
    try:
        if ":" not in host:
            return _MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, host), "big")
        address, percent, zone = host.partition("%")
        if percent and not re.fullmatch(_ZONE, zone, re.ASCII):
            return None
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
    except (OSError, ValueError):
        return None
