"""From the head of an HTTP/2 request to its ASGI scope, and what HTTP refuses about it, as on HTTP/1.1.

An engine may give the same head for the same header block again; what is made of it here is kept with it.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.config import Config
from uvicorn_worker.errors import RequestRefused
from uvicorn_worker.http2.events import RequestHead
from uvicorn_worker.http2.limits import Limits
from uvicorn_worker.http2.priority import read_priority
from uvicorn_worker.runtime import Runtime
from uvicorn_worker.target import METHODS, check_target, split_target

__all__ = ["Template", "make_template"]

# What the request line of HTTP/1.1 has besides method and target: two spaces and "HTTP/1.1".
_LINE_REST = 10

SLASH = ord("/")


class Template:
    """What the scopes of equal requests on one connection have in common."""

    __slots__ = ("headers", "priority", "refusal", "scope")

    def __init__(self, scope: dict[str, Any], head: RequestHead) -> None:
        self.scope = scope
        self.headers = head.headers
        # None where the client has said nothing of it.
        self.priority = read_priority(head.priority) if head.priority else None
        self.refusal: RequestRefused | None = None


def make_template(runtime: Runtime, limits: Limits, scope_base: dict[str, Any], head: RequestHead) -> Template:
    """The template of a head; `scope_base` is what the scopes of the connection have in common."""
    scope = scope_base.copy()
    template = Template(scope, head)
    scope["method"] = head.method
    try:
        check_request(runtime.config, limits, head)
        path, raw_path, query = split_target(head.target)
    except RequestRefused as exc:
        template.refusal = exc
        # For the access log.
        scope["path"] = head.target.decode("latin-1")
        scope["raw_path"] = head.target
        return template
    if runtime.raw_root_path:
        path = scope["root_path"] + path
        raw_path = runtime.raw_root_path + raw_path
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query
    return template


def check_request(config: Config, limits: Limits, head: RequestHead) -> None:
    """Raise `RequestRefused` for what is valid HTTP/2 and still not to be served."""
    target, headers = head.target, head.headers
    if config.limit_request_line and len(head.method) + len(target) + _LINE_REST > config.limit_request_line:
        raise RequestRefused(414, f"the request line is longer than {config.limit_request_line} bytes")
    if len(headers) > config.limit_request_fields:
        raise RequestRefused(431, f"the head has more than {config.limit_request_fields} fields")
    longest = config.limit_request_field_size
    if longest and any(len(name) + len(value) > longest for name, value in headers):
        raise RequestRefused(431, f"a header field is longer than {longest} bytes")
    if head.size > limits.max_header_list_size:
        raise RequestRefused(431, f"the head is larger than {limits.max_header_list_size} bytes")
    if head.method == "CONNECT" and head.protocol is None:
        raise RequestRefused(501, "CONNECT is for proxies")
    if head.method.encode() not in METHODS and not config.permit_unconventional_http_method:
        raise RequestRefused(501, f"the method {head.method} is not known here")
    if target[0] != SLASH and (target != b"*" or head.method != "OPTIONS"):
        raise RequestRefused(400, "the request target is not a path")
    check_target(target)
    if any(name == b"expect" and value.lower() != b"100-continue" for name, value in headers):
        raise RequestRefused(417, "an expectation other than 100-continue")
    if config.limit_request_body is not None and (head.content_length or 0) > config.limit_request_body:
        raise RequestRefused(413, f"the body is larger than {config.limit_request_body} bytes")
