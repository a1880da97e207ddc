"""What proxies say of a request: X-Forwarded-*, Forwarded (RFC 7239) and the fields that tell of TLS.

    X-Forwarded-For:    198.51.100.9,   203.0.113.5,   10.0.0.2        each proxy adds at the right end
                        └ anybody's     └ the client   └ a proxy that is trusted
                          word                           ▲ the walk begins here

The walk goes from the right over the proxies that are trusted. The first address that is not is the client; where all
are trusted it is the leftmost. Something that is no address ends the walk at the last good one. A list in another field
is taken at the same distance from the right, since the same proxies have added to it; one that is shorter has its first
item taken.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import QUOTED, TCHAR
from uvicorn_worker.core.rules import split_list
from uvicorn_worker.core.scope import Field, Origin
from uvicorn_worker.proxies.trust import Trust, address_number

__all__ = ["OriginReader", "forwarded_elements", "parse_node"]

# How nginx writes the address of a client that has none.
_UNIX = "unix:"

# The values of X-Forwarded-Proto and of proto= in Forwarded that are known everywhere.
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}

_FOR = b"x-forwarded-for"
_PROTO = b"x-forwarded-proto"
_HOST = b"x-forwarded-host"
_PORT = b"x-forwarded-port"
_PREFIX = b"x-forwarded-prefix"

# What was read is remembered by its bytes, which come from clients: up to this number, then anew, and if it is short.
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 512
_LONGEST_ADDRESS = 64

# reg-name, or an IPv6 address in brackets (RFC 3986, 3.2.2), and a port.
_HOST_AND_PORT = r"([\w.~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?"
# Segments of a path (RFC 3986, 3.3), none of which is empty: "//host" would be read as an authority.
_SEGMENTS = r"(?:/[\w.~!$&'()*+,;=:@%-]+)*"

# forwarded-element (RFC 7239, 4). Beyond it, white space is let by around the semicolon, and an address with a
# colon or brackets may come without the quotes that it needs.
_PAIR = rf"([{TCHAR}]+)=([{TCHAR}:\[\]]+|{QUOTED})"
_PAIRS = rf"(?:{_PAIR})?(?:[\t ]*;(?:[\t ]*{_PAIR})?)*"
# No element of a proxy is longer; what is longer ends the walk.
_LONGEST_ELEMENT = 1024
# Nor are there so many proxies in a row: no more items of a list are looked at.
_MOST_ITEMS = 100


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Not at the start: most servers are told none of these, and compiling them takes 2 ms."""
    return re.compile(pattern, re.ASCII)


class Rewriting:
    """What else of the URL that the client has asked for is told; None: it is not."""

    __slots__ = ("host", "port", "raw_root_path", "root_path")

    def __init__(self, host: bytes | None, port: int | None, root_path: str | None, raw_root_path: bytes) -> None:
        self.host = host
        self.port = port
        self.root_path = root_path
        self.raw_root_path = raw_root_path

    def apply(self, scope: dict[str, Any], raw_root_path: bytes) -> None:
        """Put it into a scope that is complete but for this; `raw_root_path` is what its raw_path begins with."""
        if self.root_path is not None:
            scope["path"] = self.root_path + scope["path"][len(scope["root_path"]) :]
            scope["raw_path"] = self.raw_root_path + scope["raw_path"][len(raw_root_path) :]
            scope["root_path"] = self.root_path
        if self.host is not None:
            scope["headers"] = [(b"host", self.host), *(field for field in scope["headers"] if field[0] != b"host")]
        if self.host is not None or self.port is not None:
            scope["server"] = self._server(scope)

    def _server(self, scope: dict[str, Any]) -> tuple[str, int | None] | None:
        """The address that the client has connected to, as its URL names it."""
        server: tuple[str, int | None] | None = scope["server"]
        name, port = server or ("", None)
        if self.host is not None or port is None:
            # A unix socket has no name that a client could have used.
            host = next((value for key, value in scope["headers"] if key == b"host"), b"")
            found = _compiled(_HOST_AND_PORT).fullmatch(host.decode("latin-1"))
            if found is None:
                return server
            name, told = found.groups()
            name = name.strip("[]")
            port = int(told) if told else 443 if scope["scheme"] == "https" else 80
        return name, self.port or port


class OriginReader:
    """Reads the fields that the options name; see the module's text for how."""

    def __init__(self, config: Config, trust: Trust) -> None:
        self._trust = trust
        kinds = split_list(config.forwarded_headers) if config.proxy_headers else []
        # What each field that tells of TLS must be; `proto` stands for all of them.
        self._secure = {
            name.lower().encode("latin-1", "replace"): value
            for name, value in config.secure_scheme_headers.items()
            if "proto" in kinds
        }
        names = {"forwarded" if kind == "forwarded" else f"x-forwarded-{kind}" for kind in kinds if kind != "proto"}
        self.names = frozenset(self._secure) | {name.encode() for name in names}
        # What was read before: all of it, and what comes beside clients, which is of fewer kinds.
        self.origins: dict[tuple[Field, ...], Origin] = {}
        self._others: dict[tuple[tuple[Field, ...], int], Origin] = {}

    def read(self, fields: tuple[Field, ...]) -> Origin:
        """The origin by fields of `names`, in their order; it is in `origins` from then on.

        Raises `RequestRefused` (400) where fields contradict each other about the scheme.
        """
        origin = self._behind_one_proxy(fields) if fields else None
        if origin is not None:
            return origin
        lines = []
        others = []
        size = 0
        for field in fields:
            name, value = field
            size += len(value)
            if name == _FOR:
                lines.append(value)
            else:
                others.append(field)
        client, distance = self._walk(_items(b",".join(lines).decode("latin-1")))
        key = tuple(others), distance
        origin = self._others.get(key)
        if origin is None:
            origin = self._read_others(others, distance)
            if size <= _LONGEST_KNOWN:
                _remember(self._others, key, origin)
        if client is not None and "client" not in origin.changes:
            origin = Origin({"client": client, **origin.changes}, origin.rewrite)
        if size <= _LONGEST_KNOWN:
            _remember(self.origins, fields, origin)
        return origin

    def _behind_one_proxy(self, fields: tuple[Field, ...]) -> Origin | None:
        """The same of a client that is not known yet, where the one address of X-Forwarded-For comes first or last.

        None: it is to be read in full, as where what the other fields say is not known.
        """
        (name, value), others = fields[0], fields[1:]
        if name != _FOR:
            (name, value), others = fields[-1], fields[:-1]
        # No key of these has an X-Forwarded-For in it.
        known = self._others.get((others, 0))
        host = value.decode("latin-1")
        if known is None or name != _FOR or "client" in known.changes:
            return None
        if len(host) > _LONGEST_ADDRESS or address_number(host) is None:
            return None
        origin = Origin({"client": (host, 0), **known.changes}, known.rewrite)
        _remember(self.origins, fields, origin)
        return origin

    def _read_others(self, fields: list[Field], distance: int) -> Origin:
        """All but X-Forwarded-For, in which the client was found at `distance` from the right."""
        lines: dict[bytes, list[str]] = {}
        for name, value in fields:
            lines.setdefault(name, []).append(value.decode("latin-1"))
        schemes = {self._is_secure(name, values, distance) for name, values in lines.items() if name in self._secure}
        host, port, prefix = (_items(",".join(lines.get(name, []))) for name in (_HOST, _PORT, _PREFIX))
        client, proto, forwarded_host = self._read_forwarded(",".join(lines.get(b"forwarded", [])))
        if proto in _SECURE:
            schemes.add(_SECURE[proto])
        if len(schemes) > 1:
            raise RequestRefused(400, "the fields that tell the scheme contradict each other")
        changes: dict[str, Any] = {}
        if client is not None:
            changes["client"] = client
        if schemes:
            changes["scheme"] = "https" if True in schemes else "http"
        return Origin(changes, _rewrite(forwarded_host or _at(host, distance), _at(port, distance), _at(prefix, 0)))

    def _read_forwarded(self, value: str) -> tuple[Address | None, str, str]:
        """Client, scheme and host of Forwarded (RFC 7239)."""
        elements = list(forwarded_elements(value))
        client, distance = self._walk([element.get("for", "") for element in elements[::-1]])
        return client, _nearest(elements, "proto", distance).lower(), _nearest(elements, "host", distance)

    def _walk(self, hops: list[str]) -> tuple[Address | None, int]:
        """The client, and its distance from the right; None: nothing is told."""
        client, reached = None, 0
        last = len(hops) - 1
        for distance, hop in enumerate(reversed(hops)):
            address = parse_node(hop)
            if address is not None:
                client = address
            elif hop != _UNIX:
                break
            reached = distance
            # The leftmost is taken whether it is trusted or not.
            if distance == last or not self._trust.trusts(address):
                break
        return client, reached

    def _is_secure(self, name: bytes, values: list[str], distance: int) -> bool:
        expected = self._secure[name]
        if all(value == expected for value in values):
            return True
        # A proxy that adds a line, as HAProxy's add-header does, has added to the list.
        item = _at(_items(",".join(values)), distance)
        return item == expected or (name == _PROTO and _SECURE.get(item.lower(), False))


def _remember(known: dict[Any, Origin], key: Any, origin: Origin) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = origin


def _rewrite(host: str, port: str, prefix: str) -> Callable[[dict[str, Any], bytes], None] | None:
    """How the parts rewrite a scope: one that is not what it should be is left out; None: there is none."""
    raw_host = host.encode("latin-1") if host and _compiled(_HOST_AND_PORT).fullmatch(host) else None
    number = _port(port) or None
    # How many proxies have cut something off is not known, so that a prefix is the nearest one's word.
    path = prefix.rstrip("/")
    root_path = unquote(path) if prefix and _compiled(_SEGMENTS).fullmatch(path) else None
    if raw_host is None and number is None and root_path is None:
        return None
    return Rewriting(raw_host, number, root_path, path.encode("latin-1")).apply


def parse_node(node: str) -> Address | None:
    """The (host, port) of an item such as `192.0.2.1:80`, `[2001:db8::1]:80` or an address alone (port 0).

    None for what has no IP address, such as `unknown` and `_hidden` (RFC 7239, 6). A port that is none is 0.
    """
    host, port = node, ""
    if node.startswith("["):
        host, bracket, rest = node[1:].partition("]")
        if not bracket or ":" not in host or (rest and rest[0] != ":"):
            return None
        port = rest[1:]
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
    return None if address_number(host) is None else (host, _port(port))


def _port(text: str) -> int:
    number = int(text) if len(text) <= 5 and text.isascii() and text.isdigit() else 0
    return number if number < 65536 else 0


def forwarded_elements(value: str) -> Iterator[dict[str, str]]:
    """The elements of Forwarded (RFC 7239, 4) from right to left, up to the first that is malformed.

    It is read from the right since only that end is sure to be a proxy's: a quote that a client leaves open must not
    swallow what the proxies add behind it.
    """
    text = ""
    for piece in reversed(value.rsplit(",", _MOST_ITEMS)):
        # A comma may be inside a quoted string: then only with what is before it the element is whole.
        text = f"{piece},{text}" if text else piece
        element = text.strip(" \t")
        if len(text) > _LONGEST_ELEMENT:
            return
        if not element:
            text = ""
        elif _compiled(_PAIRS).fullmatch(element):
            yield {name.lower(): _unquote(value) for name, value in _compiled(_PAIR).findall(element)}
            text = ""


def _unquote(value: str) -> str:
    """RFC 9110, 5.6.4: a quoted-string, or a token as it is."""
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _items(value: str) -> list[str]:
    """The items of a list, of which the last ones count (RFC 9110, 5.6.1: empty ones don't)."""
    return [item for part in value.rsplit(",", _MOST_ITEMS) if (item := part.strip(" \t"))]


def _at(items: list[str], distance: int) -> str:
    """The item at this distance from the right, or the first one; empty where there is none."""
    return items[max(len(items) - 1 - distance, 0)] if items else ""


def _nearest(elements: list[dict[str, str]], name: str, distance: int) -> str:
    """What the element at this distance from the right says, or else the first one behind it that says it."""
    return next((element[name] for element in reversed(elements[: distance + 1]) if name in element), "")
