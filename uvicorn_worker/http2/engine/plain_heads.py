"""Heads of requests whose parts were read before, or are plain: their fields need not be checked one by one.

A client asks for another target each time, with a few values that no other request has, and all else as before. What
method, scheme and authority mean together is remembered, and which fields are sound; of the rest only the values
are looked at. What is not plain is for request_heads.py, which fills this memory, and says the same of each head;
`tests/http2/engine/test_plain_heads.py` holds both against each other.
"""

from __future__ import annotations

from uvicorn_worker.core.grammar import PLAIN_VALUE, parse_length
from uvicorn_worker.http2.engine.events import RequestHead

__all__ = [
    "FIELD_OVERHEAD",
    "PSEUDO",
    "SECRETS",
    "TARGET",
    "plain_head",
    "remember_field",
    "remember_sound",
    "remember_start",
]

Field = tuple[bytes, bytes]

FIELD_OVERHEAD = 32
"""What a field counts for beyond its name and its value (RFC 9113, 6.5.2)."""

PSEUDO = 4
"""How many pseudo-fields a plain head begins with; the host takes their place in its headers."""

# What method, scheme and authority of valid requests are in their heads, and what these fields and the name of the
# target count for: few clients have more than one of them.
_starts: dict[tuple[bytes | None, bytes | None, bytes | None], tuple[str, str, Field, int]] = {}
_MOST_STARTS = 256
# Fields that were found valid and mean nothing to the server, and their sizes: a client sends the same ones again.
_sound: dict[Field, int] = {}
_MOST_FIELDS = 1024
_LONGEST = 256
# The names of such fields, and how often one with an unknown value has come. Of as many as the second number no more
# than the first are remembered, so that values that are others each time don't push out the others.
_names: dict[bytes, int] = {}
_MOST_NAMES = 512
_REMEMBERED, _OF = 64, 1024

SECRETS = frozenset([b"authorization", b"proxy-authorization"])
"""Fields that are not remembered, as cookies are not: they mean nothing to the server, but are nobody else's."""

TARGET = bytes(byte if 0x20 < byte < 0x7F else byte ^ 1 for byte in range(256))
"""`target.translate(TARGET) == target` says that a target is visible ASCII."""


def plain_head(fields: list[Field]) -> RequestHead | None:
    """The head of a request; None: it is to be read field by field."""
    pseudo = dict(fields[:PSEUDO])
    target = pseudo.get(b":path")
    start = _starts.get((pseudo.get(b":method"), pseudo.get(b":scheme"), pseudo.get(b":authority")))
    if start is None or not target or len(pseudo) != PSEUDO or target.translate(TARGET) != target:
        return None
    method, scheme, host, start_size = start
    rest = fields[PSEUDO:]
    sizes = [*map(_sound.get, rest)]
    head = RequestHead(method, target, scheme, host[1])
    if None in sizes:
        cookies = 0
        for at, size in enumerate(sizes):
            if size is not None:
                continue
            name, value = field = rest[at]
            if value.translate(PLAIN_VALUE).strip() != value:
                return None
            number = _names.get(name)
            sizes[at] = len(name) + len(value) + FIELD_OVERHEAD
            if number is not None:
                if number % _OF < _REMEMBERED:
                    remember_field(field)
                else:
                    _names[name] = number + 1
            elif name in SECRETS:
                continue
            elif name == b"cookie" and not cookies:
                cookies = 1
            elif name == b"priority" and not head.priority:
                head.priority = value
            elif name == b"content-length" and head.content_length is None:
                head.content_length = length = parse_length(value)
                if length is None:
                    return None
            else:
                return None
    head.headers = [host, *rest]
    head.size = start_size + len(target) + sum(sizes)  # type: ignore[arg-type]  # there is no None left
    sizes.append(len(host[0]) + len(host[1]) + FIELD_OVERHEAD)
    head.longest = max(sizes) - FIELD_OVERHEAD  # type: ignore[type-var, operator]
    return head


def remember_field(field: Field) -> None:
    """Keep a field, and its name, that is valid and means nothing to the server, nor has an underscore."""
    name, value = field
    if len(name) + len(value) > _LONGEST:
        return
    number = _names.get(name)
    if number is None:
        number = 0
        if len(_names) >= _MOST_NAMES:
            _names.clear()
    _names[name] = number + 1
    if number % _OF < _REMEMBERED:
        remember_sound(field)


def remember_sound(field: Field) -> None:
    """Keep a field that means nothing as it is, though others of its name may mean something."""
    if len(_sound) >= _MOST_FIELDS:
        _sound.clear()
    name, value = field
    _sound[field] = len(name) + len(value) + FIELD_OVERHEAD


def remember_start(method: bytes, scheme: bytes, head: RequestHead) -> None:
    """Keep what a valid request that is no CONNECT begins with."""
    authority = head.authority
    size = len(method) + len(scheme) + len(authority)
    if size > _LONGEST:
        return
    if len(_starts) >= _MOST_STARTS:
        _starts.clear()
    size += len(b":method:scheme:authority:path") + PSEUDO * FIELD_OVERHEAD
    _starts[method, scheme, authority] = head.method, head.scheme, (b"host", authority), size
