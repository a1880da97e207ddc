"""The request target (RFC 9112, 3.2), as the ASGI scope wants it, and the methods.

    origin-form      /where?q=now                  the usual one
    absolute-form    http://example.org/where?q    sent to proxies, and to be accepted by servers
    asterisk-form    *                             for OPTIONS alone

`authority-form` belongs to CONNECT, which an origin server does not implement.
"""

from __future__ import annotations

import re

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import is_host, is_token

__all__ = [
    "METHODS",
    "NO_METHOD",
    "checked_target",
    "method_name",
    "printable_target",
    "to_origin_form",
]

# The methods that llhttp, too, takes for those of HTTP.
METHOD_NAMES = (
    "ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY "
    "OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    "UNSUBSCRIBE"
)
METHODS = {name.encode(): name for name in METHOD_NAMES.split(" ")}

# What Gunicorn takes for a method that it does not know: 3 to 20 characters of a token, none of them in lower case.
_is_conventional = re.compile(rb"[A-Z][A-Z0-9!$%&'*+.^_`|~-]{2,19}").fullmatch
NO_METHOD = "%s is no method: 3 to 20 characters without lower case are, and any with permit_unconventional_http_method"
# How HTTP/2 begins (RFC 9113, 3.4), which is no method.
_PREFACE = b"PRI"

# A target that is longer, which may be why the request was refused, is shown by its beginning.
_TARGET_SHOWN = 1024
_UNPRINTABLE = rb"[^!-~]"


def method_name(config: Config, method: bytes) -> str | None:
    """The method of a request as the application is told it, which answers what it does not know; None: there is none.

    `casefold_http_method` and `permit_unconventional_http_method` are Gunicorn's. RFC 9110, 9.1 and 16.1.1.
    """
    if config.casefold_http_method:
        method = method.upper()
    name = METHODS.get(method)
    if name is None and method != _PREFACE:
        is_one = is_token if config.permit_unconventional_http_method else _is_conventional
        name = method.decode("ascii") if is_one(method) else None
    return name


def checked_target(target: bytes) -> bytes:
    """A target in origin-form without its fragment; refuses (400) what the parser's own check has left.

    A fragment is the client's own (RFC 9110, 7.1). Some send it all the same, and nginx and other servers leave it out.
    """
    if not target.isascii():
        raise RequestRefused(400, "the request target has a byte above 0x7f")
    return target.partition(b"#")[0] if b"#" in target else target


def printable_target(target: bytes) -> bytes:
    """The beginning of a target that was refused, for whatever it is, in a form that a log can show."""
    return re.sub(_UNPRINTABLE, lambda found: b"%%%02X" % found[0][0], target[:_TARGET_SHOWN])


def to_origin_form(target: bytes, method: str) -> tuple[bytes, bytes | None]:
    """Give the origin-form of a target that does not begin with a slash, and the authority it names.

    The authority is None for the asterisk-form. Raises `RequestRefused` (400) for any other form.
    """
    if target == b"*":
        if method != "OPTIONS":
            raise RequestRefused(400, "the request target * is for OPTIONS alone")
        return target, None
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        # The authority ends at the first of these (RFC 3986, 3.2); what remains may be a bare query.
        ends = [at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0]
        authority_end = min(ends, default=len(rest))
        if authority_end:
            if not is_host(rest[:authority_end]):
                raise RequestRefused(400, "the authority of the request target is not host and port")
            remainder = rest[authority_end:]
            return remainder if remainder[:1] == b"/" else b"/" + remainder, rest[:authority_end]
    raise RequestRefused(400, "the request target is not a path")
