"""Fields of responses, as the application gives them: what may reach the wire, on every version of HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.grammar import find_control, is_token, parse_length

__all__ = [
    "HOP_BY_HOP",
    "INFORMATIONAL",
    "as_fields",
    "as_pair",
    "check_field",
    "check_status",
    "check_trailers",
    "informational_of",
    "links_of",
    "missing",
    "read_length",
]

# Fields of the message's framing and of the connection are the server's, not the application's
# (RFC 9110, 7.6.1). Keep-Alive has an effect on clients alone, such as Node's.
HOP_BY_HOP = frozenset([b"connection", b"proxy-connection", b"transfer-encoding"])

# Messages for a head before that of the response; the second is that of Gunicorn's own ASGI worker.
INFORMATIONAL = frozenset(["http.response.early_hint", "http.response.informational"])

# RFC 9110, 6.5.1: what is needed to read a message, to route it, or to make sense of its content does not come last.
_NO_TRAILERS = frozenset(
    [b"content-encoding", b"content-length", b"content-range", b"content-type", b"host", b"te", b"trailer"]
)


def check_trailers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `ApplicationError` for a field that has no place in trailers."""
    for field in headers:
        name = as_pair(field)[0]
        if name.lower() in _NO_TRAILERS:
            raise ApplicationError(f"{name.decode('latin-1')} is no field of trailers")


def check_status(status: Any) -> int:
    """The status as a number, as of an enumeration, or 200.0; raises `ApplicationError` where it is none."""
    if not isinstance(status, (int, float)) or not 100 <= status <= 999 or status != int(status):
        raise ApplicationError(f"status of http.response.start must be an integer from 100 to 999, not {status!r}")
    return int(status)


def missing(message: Any, key: str) -> ApplicationError:
    """What is raised for an ASGI message without this key, or for what is no message."""
    if not isinstance(message, Mapping):
        return ApplicationError(f"an ASGI message must be a dictionary, not {message!r}")
    kind = message.get("type")
    return ApplicationError(
        "an ASGI message has no type" if key == "type" else f"the ASGI message {kind!r} has no {key}"
    )


def links_of(message: Any) -> list[bytes]:
    """Those of a http.response.early_hint; raises `ApplicationError` where they are none."""
    try:
        return [link if type(link) is bytes else bytes(memoryview(link)) for link in message["links"]]
    except KeyError:
        raise missing(message, "links") from None
    except TypeError:
        raise ApplicationError(f"links of {message['type']} must be bytes, not {message['links']!r}") from None


def informational_of(message: Any) -> tuple[int, list[Any]]:
    """Status and fields of one of `INFORMATIONAL`; raises `ApplicationError` where they are none."""
    if message["type"] == "http.response.early_hint":
        return 103, [(b"link", link) for link in links_of(message)]
    try:
        status = message["status"]
    except KeyError:
        raise missing(message, "status") from None
    if not isinstance(status, int) or not 100 <= status <= 199 or status == 101:
        raise ApplicationError(f"status of {message['type']} must be 100 or from 102 to 199, not {status!r}")
    return int(status), as_fields(message.get("headers", ()))


def as_fields(headers: Any) -> list[Any]:
    """The headers of a message as a list; raises `ApplicationError` where there are none in it."""
    try:
        return list(headers)
    except TypeError:
        raise ApplicationError(f"response headers must be pairs of bytes, not {headers!r}") from None


def check_field(name: Any, value: Any) -> None:
    """Raise `ApplicationError` for a name or a value that is not allowed."""
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ApplicationError(f"response headers must be pairs of bytes, not ({name!r}, {value!r})")
    if not is_token(name):
        raise ApplicationError(f"response header name {name!r} is not a token")
    if find_control(value):
        raise ApplicationError(f"value of response header {name.decode()} has a control character: {value!r}")


def read_length(value: bytes, before: int | None) -> int:
    """The number in a Content-Length field; `before` is that of an earlier one. Raises `ApplicationError`."""
    length = parse_length(value.strip(b" \t"))
    if length is None or before not in (None, length):
        raise ApplicationError(f"response header content-length is not one number: {value!r}")
    return length


def as_pair(field: Any) -> tuple[bytes, bytes]:
    """A header as two strings of bytes, where it is not a tuple of two such ones.

    ASGI asks for bytes. Text is taken all the same: an application that sends it is served by uvicorn with h11, which
    is what there is where httptools is not installed.
    """
    try:
        name, value = field
    except (TypeError, ValueError):
        raise ApplicationError(f"response headers must be pairs of bytes, not {field!r}") from None
    if type(name) is bytes and type(value) is bytes:
        return name, value
    try:
        return _as_bytes(name), _as_bytes(value)
    except ValueError:
        raise ApplicationError(f"response headers must be pairs of bytes, not ({name!r}, {value!r})") from None


def _as_bytes(part: Any) -> bytes:
    if isinstance(part, str):
        return part.encode("latin-1")
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    raise ValueError
