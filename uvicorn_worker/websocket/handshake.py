"""The opening handshake (RFC 6455, 4.2), checked and answered.

It is given the request as the HTTP room has parsed it; no bytes are made again. Time is linear in what was sent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.websocket.deflate import NAME, PerMessageDeflate, agree
from uvicorn_worker.websocket.field_lists import InvalidField, extensions, protocols, tokens

try:
    # Without it, hashlib loads OpenSSL: that is a millisecond at the start, for some bytes of a handshake.
    from _sha1 import sha1  # type: ignore[import-not-found,unused-ignore]  # as the random module does
except ImportError:  # pragma: no cover - where Python was built without it
    from hashlib import sha1

__all__ = ["Agreement", "Refusal", "accept_key", "is_websocket_request", "negotiate", "websocket_scope"]

# 1.3
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"

_CONNECTION, _UPGRADE, _ORIGIN = "Connection", "Upgrade", "Origin"
_KEY, _VERSION_FIELD = "Sec-WebSocket-Key", "Sec-WebSocket-Version"
_EXTENSIONS = "Sec-WebSocket-Extensions"
_NAMES = {name.lower().encode(): name for name in (_CONNECTION, _UPGRADE, _ORIGIN, _KEY, _VERSION_FIELD, _EXTENSIONS)}


class Agreement:
    """What client and server have agreed on: the fields of the 101, and compression, if it is used."""

    __slots__ = ("deflate", "headers")

    def __init__(self, headers: list[tuple[bytes, bytes]], deflate: PerMessageDeflate | None) -> None:
        self.headers = headers
        self.deflate = deflate


class Refusal:
    """The answer to a handshake that is not one."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


def is_websocket_request(method: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request asks to change to WebSocket; if it does so rightly is for `negotiate` to say."""
    return method == "GET" and any(name == b"upgrade" and value.lower() == b"websocket" for name, value in headers)


def offered_subprotocols(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """The subprotocols of all Sec-WebSocket-Protocol fields, in their order.

    They are to be tokens (4.1), but clients other than browsers put into them what they like, as credentials in
    base64, and applications compare them with what they know: what is between commas is passed on.
    """
    values = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [item for value in values for each in value.split(",") if (item := each.strip(" \t"))]


def accept_key(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (4.2.2)."""
    # It proves that the server has read the handshake; no secret rests on it.
    return base64.b64encode(sha1(key + _GUID).digest())  # noqa: S324  # the RFC names it


def negotiate(config: Config, headers: list[tuple[bytes, bytes]]) -> Agreement | Refusal:
    """Check the fields of a handshake; agree on extensions."""
    fields: dict[str, list[str]] = {name: [] for name in _NAMES.values()}
    for name, value in headers:
        known = _NAMES.get(name)
        if known is not None:
            fields[known].append(value.decode("latin-1"))
    try:
        _check_upgrade(fields)
        key = _check_key(fields)
        version = _only(fields, _VERSION_FIELD)
        if version != _VERSION:
            # 4.4: say which version is spoken here; RFC 9110, 15.5.22: and what to upgrade to.
            known_version = [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
            return Refusal(426, str(InvalidField(_VERSION_FIELD, version)), known_version)
        if len(fields[_ORIGIN]) > 1:
            raise InvalidField(_ORIGIN, "multiple values")
        extension = _agree_on_extension(fields[_EXTENSIONS] if config.ws_per_message_deflate else [])
    except InvalidField as exc:
        return Refusal(400, str(exc))
    answer = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accept_key(key))]
    if extension is None:
        return Agreement(answer, None)
    said, deflate = extension
    return Agreement([*answer, (b"sec-websocket-extensions", said.encode())], deflate)


def _check_upgrade(fields: dict[str, list[str]]) -> None:
    """Both fields have to say so (4.2.1, 3 and 4)."""
    options = tokens(_CONNECTION, fields[_CONNECTION])
    if not any(option.lower() == "upgrade" for option in options):
        raise InvalidField(_CONNECTION, ", ".join(options) if options else None)
    asked_for = protocols(_UPGRADE, fields[_UPGRADE])
    if [name.lower() for name in asked_for] != ["websocket"]:
        raise InvalidField(_UPGRADE, ", ".join(asked_for) if asked_for else None)


def _check_key(fields: dict[str, list[str]]) -> bytes:
    """16 bytes in base64 (4.2.1, 5)."""
    key = _only(fields, _KEY)
    try:
        right = len(base64.b64decode(key.encode(), validate=True)) == 16
    except binascii.Error:
        right = False
    if not right:
        raise InvalidField(_KEY, key)
    return key.encode()


def _only(fields: dict[str, list[str]], name: str) -> str:
    values = fields[name]
    if len(values) != 1:
        raise InvalidField(name, "multiple values" if values else None)
    return values[0]


def _agree_on_extension(values: list[str]) -> tuple[str, PerMessageDeflate] | None:
    """The first offer of the client's that we can take (9.1); the others are declined."""
    found = None
    # Clients that know no extension may send an empty field, which is no offer.
    for name, parameters in extensions(_EXTENSIONS, filter(None, values)):
        if name == NAME and found is None:
            found = agree(parameters)
    return found


def websocket_scope(http: dict[str, Any]) -> dict[str, Any]:
    """The websocket scope of a request whose HTTP scope was made already."""
    scope = http.copy()
    del scope["method"]
    scope["type"] = "websocket"
    scope["asgi"] = {"version": "3.0", "spec_version": "2.5"}
    if http["http_version"] == "1.0":
        # ASGI knows "1.1" and "2" here.
        scope["http_version"] = "1.1"
    scope["scheme"] = "wss" if http["scheme"] == "https" else "ws"
    scope["subprotocols"] = offered_subprotocols(http["headers"])
    # The others are for responses of HTTP.
    scope["extensions"] = {"websocket.http.response": {}}
    if "tls" in http["extensions"]:
        scope["extensions"]["tls"] = http["extensions"]["tls"]
    return scope
