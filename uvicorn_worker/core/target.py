"""The request target (RFC 9112, 3.2), as the ASGI scope wants it, and the methods.

    origin-form      /where?q=now                  the usual one
    absolute-form    http://example.org/where?q    sent to proxies, and to be accepted by servers
    asterisk-form    *                             for OPTIONS alone

`authority-form` belongs to CONNECT, which an origin server does not implement.
"""

from __future__ import annotations

import re

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import is_host

__all__ = ["METHODS", "check_target", "printable_target", "to_origin_form"]

# The methods that are registered for HTTP, less those that no origin server has a use for. Others are refused.
METHOD_NAMES = (
    "ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY "
    "OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    "UNSUBSCRIBE"
)
METHODS = {name.encode(): name for name in METHOD_NAMES.split(" ")}


# A target that is longer, which may be why the request was refused, is shown by its beginning.
_TARGET_SHOWN = 1024
_UNPRINTABLE = rb"[^!-~]"


def check_target(target: bytes) -> None:
    """Refuse (400) what is left of a target after the parser's own check."""
    if b"#" in target:
        raise RequestRefused(400, "the request target has a fragment")
    if not target.isascii():
        raise RequestRefused(400, "the request target has a byte above 0x7f")


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
        ends = [at for at in (rest.find(b"/"), rest.find(b"?"), rest.find(b"#")) if at >= 0]
        authority_end = min(ends, default=len(rest))
        if authority_end:
            if not is_host(rest[:authority_end]):
                raise RequestRefused(400, "the authority of the request target is not host and port")
            remainder = rest[authority_end:]
            return remainder if remainder[:1] == b"/" else b"/" + remainder, rest[:authority_end]
    raise RequestRefused(400, "the request target is not a path")
