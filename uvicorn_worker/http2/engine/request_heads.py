"""Header lists of requests: checked by RFC 9113, 8.2 and 8.3, and put in the form of ASGI. Both engines use this.

What is wrong here makes a request malformed, which is a stream error (8.1.1). What HTTP itself would refuse with a
status (a target that is no path, too many fields) is not looked at: the protocol answers it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from uvicorn_worker.core.grammar import CONTROLS, TCHAR, expectations, is_host, is_token, parse_length
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.plain_heads import (
    FIELD_OVERHEAD,
    SECRETS,
    plain_head,
    remember_field,
    remember_sound,
    remember_start,
)

__all__ = ["Malformed", "check_trailers", "request_head"]

_is_target = re.compile(rb"[^\x00-\x20\x7f]+").fullmatch

# 8.2.1: names are in lower case, and values begin and end with neither SP nor HTAB. Where they do, they are taken
# without, as over HTTP/1.1 (RFC 9110, 5.5): grpcio, grpc-js and Node's http2 send what they are given.
is_lowercase_token = re.compile(rf"[{TCHAR.replace('A-Z', '')}]+".encode()).fullmatch
is_stripped_value = re.compile(rf"(?:[^\x00-\x20\x7f](?:[^{CONTROLS}]*[^\x00-\x20\x7f])?)?".encode()).fullmatch

# 8.2.2: fields of a connection, which HTTP/2 says in other ways.
_CONNECTION_FIELDS = frozenset([b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"])
_PSEUDO_FIELDS = frozenset([b":method", b":scheme", b":path", b":authority", b":protocol"])

Field = tuple[bytes, bytes]

# Fields that mean something to the server itself.
_OWN_FIELDS = _CONNECTION_FIELDS | {b"te", b"cookie", b"host", b"content-length", b"priority", b"expect"}


# What TE may say, and asks nothing of the server.
TE_TRAILERS = (b"te", b"trailers")


class Malformed(Exception):
    """A header list that RFC 9113 does not allow; the text is for the log."""


def request_head(fields: list[Field]) -> RequestHead:
    """The head of a request from its decoded header list, in order; raises `Malformed`."""
    return plain_head(fields) or read_head(fields)


def read_head(fields: list[Field]) -> RequestHead:
    """The same, field by field."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[Field] = []
    own: list[Field] = []
    cookie_at = -1
    size = 0
    for given in fields:
        name, value = field = given
        size += len(name) + len(value) + FIELD_OVERHEAD
        if name[:1] == b":":
            _add_pseudo_field(pseudo, name, value, bool(headers or own))
            continue
        if not (is_lowercase_token(name) and is_stripped_value(value)):
            value = _stripped_value(name, value)
            field = name, value
        if name in _OWN_FIELDS:
            own.append(field)
            if name == b"host":
                continue
            if name == b"cookie":
                if cookie_at >= 0:
                    # 8.2.3: crumbs are one field to whoever is not HTTP/2.
                    headers[cookie_at] = (name, headers[cookie_at][1] + b"; " + value)
                    continue
                cookie_at = len(headers)
            elif field == TE_TRAILERS:
                remember_sound(field)
        elif b"_" not in name and name not in SECRETS:
            remember_field(field)
        headers.append(field)
    hosts = [value for name, value in own if name == b"host"]
    head = _head_of(pseudo, hosts)
    head.size = size
    if head.authority:
        headers.insert(0, (b"host", head.authority))
    head.headers = headers
    if own:
        _read_own_fields(head, own)
    if head.authority and not hosts and len(pseudo) == 4:
        remember_start(pseudo[b":method"], pseudo[b":scheme"], head)
    return head


def _stripped_value(name: bytes, value: bytes) -> bytes:
    """The value of a field without white space around it; raises `Malformed` where that is not all that is wrong."""
    if not is_lowercase_token(name):
        raise Malformed(f"field name {name!r} is not a token in lower case")
    value = value.strip(b" \t")
    if not is_stripped_value(value):
        raise Malformed(f"value of field {name.decode()} has a character that is not allowed")
    return value


def _add_pseudo_field(pseudo: dict[bytes, bytes], name: bytes, value: bytes, late: bool) -> None:
    if name not in _PSEUDO_FIELDS:
        raise Malformed(f"pseudo-field {name!r} is not one of requests")
    if late:
        raise Malformed(f"pseudo-field {name.decode()} behind other fields")
    if name in pseudo:
        raise Malformed(f"pseudo-field {name.decode()} occurs twice")
    pseudo[name] = value


def _head_of(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> RequestHead:
    """Check the pseudo-fields (8.3.1; 8.5 for CONNECT; RFC 8441, 4 for the extended one)."""
    method, scheme, target = pseudo.get(b":method", b""), pseudo.get(b":scheme"), pseudo.get(b":path")
    authority, protocol = pseudo.get(b":authority"), pseudo.get(b":protocol")
    if not is_token(method):
        raise Malformed(":method is missing, or not a token")
    if method == b"CONNECT" and protocol is None:
        if scheme is not None or target is not None or not authority:
            raise Malformed("CONNECT has :authority and no other pseudo-field")
    elif scheme is None or target is None or not _is_target(target):
        raise Malformed(":scheme or :path is missing, or not valid")
    elif protocol is not None and (method != b"CONNECT" or authority is None or not is_token(protocol)):
        raise Malformed(":protocol is for CONNECT with :authority")
    if len(hosts) > 1:
        raise Malformed("more than one host field")
    if authority is None:
        authority = hosts[0] if hosts else b""
    elif hosts and hosts[0].lower() != authority.lower():
        raise Malformed("host differs from :authority")
    if not is_host(authority):
        raise Malformed(":authority, or host, is not host and port")
    raw_scheme = (scheme or b"").lower()
    if raw_scheme in (b"http", b"https") and not authority and (hosts or b":authority" in pseudo):
        # RFC 9110, 4.2.1. Where neither is there, there is no more to be said of it (8.3.1): HAProxy's health checks.
        raise Malformed(":authority, or host, is empty")
    if scheme is not None and not _is_target(raw_scheme):
        raise Malformed(":scheme is not valid")
    head = RequestHead(method.decode("ascii"), target or b"", raw_scheme.decode("latin-1"), authority)
    head.protocol = None if protocol is None else protocol.decode("ascii")
    return head


def _read_own_fields(head: RequestHead, own: list[tuple[bytes, bytes]]) -> None:
    for name, value in own:
        if name == b"content-length":
            length = parse_length(value)
            if head.content_length is not None or length is None:
                raise Malformed("content-length is not one number")
            head.content_length = length
        elif name in _CONNECTION_FIELDS:
            raise Malformed(f"{name.decode()} is a field of HTTP/1.1 connections")
        elif name == b"te":
            if value.lower() != b"trailers":
                raise Malformed("te other than trailers")
        elif name == b"priority":
            head.priority = head.priority + b"," + value if head.priority else value
        elif name == b"expect" and b"100-continue" in expectations(value):
            head.expects_continue = True


def check_trailers(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The trailers of a request from their decoded list; raises `Malformed`."""
    trailers = []
    for name, value in fields:
        if name[:1] == b":":
            raise Malformed("a pseudo-field in the trailers")
        stripped = _stripped_value(name, value)
        if name in _CONNECTION_FIELDS:
            raise Malformed(f"{name.decode()} is a field of HTTP/1.1 connections")
        trailers.append((name, stripped))
    return trailers
