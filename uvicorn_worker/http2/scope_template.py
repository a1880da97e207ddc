"""From the head of an HTTP/2 request to its ASGI scope, and what HTTP refuses about it, as on HTTP/1.1.

An engine may give the same head for the same header block again; what is made of it here is kept with it.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import expectations
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.scope import Field, Origin
from uvicorn_worker.core.target import METHODS, NO_METHOD, checked_target, method_name, printable_target
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.limits import Limits
from uvicorn_worker.http2.scheduler import read_priority
from uvicorn_worker.http2.shared import Shared

__all__ = ["Template", "make_template"]

# What the request line of HTTP/1.1 has besides method and target: two spaces and "HTTP/1.1".
_LINE_REST = 10

SLASH = ord("/")

_METHODS = frozenset(METHODS.values())


class Template:
    """What the scopes of equal requests on one connection have in common."""

    __slots__ = ("headers", "priority", "refusal", "scope")

    def __init__(self, scope: dict[str, Any], head: RequestHead) -> None:
        self.scope = scope
        self.headers = head.headers
        # None where the client has said nothing of it.
        self.priority = read_priority(head.priority) if head.priority else None
        self.refusal: RequestRefused | None = None


def make_template(
    shared: Shared, scope_base: dict[str, Any], client: Address | None, head: RequestHead, trusted: bool
) -> Template:
    """The template of a head of the connection that `scope_base` and `client` are of.

    `trusted` is whether the peer is a proxy that is believed. Of a head that is not kept it has the scope of the
    request itself, but for the state.
    """
    scope = shared.new_scope(scope_base, client)
    runtime = shared.runtime
    template = Template(scope, head)
    scope["method"] = head.method
    try:
        check_head(runtime, shared.limits, head)
        scope["method"] = head.method
        headers = head.headers
        longest = runtime.config.limit_request_field_size
        is_plain = head.longest >= 0 and (not longest or head.longest <= longest)
        if not is_plain and check_fields(runtime.config, headers) and shared.proxies.screens:
            headers = shared.proxies.screen(headers, trusted)
        origin = read_origin(shared, headers) if trusted else None
    except RequestRefused as exc:
        template.refusal = exc
        # For the access log.
        scope["headers"] = head.headers
        runtime.scopes.locate(scope, printable_target(head.target), None)
        return template
    scope["headers"] = headers.copy() if head.kept else headers
    runtime.scopes.locate(scope, head.target, origin)
    template.headers = scope["headers"]
    return template


def read_origin(shared: Shared, headers: list[Field]) -> Origin | None:
    """Where a request comes from, as a trusted peer tells it; raises `RequestRefused`."""
    proxies = shared.proxies
    fields = tuple([field for field in headers if field[0] in proxies.names])
    return (proxies.origins.get(fields) or proxies.read(fields)) if fields else None


def check_head(runtime: Runtime, limits: Limits, head: RequestHead) -> None:
    """Raise `RequestRefused` for what is valid HTTP/2 and still not to be served."""
    config, method, target = runtime.config, head.method, head.target
    if config.limit_request_line and len(method) + len(target) + _LINE_REST > config.limit_request_line:
        raise RequestRefused(414, f"the request line is longer than {config.limit_request_line} bytes")
    if len(head.headers) > config.limit_request_fields:
        raise RequestRefused(431, f"the head has more than {config.limit_request_fields} fields")
    if head.size > limits.max_header_list_size:
        raise RequestRefused(431, f"the head is larger than {limits.max_header_list_size} bytes")
    if method == "CONNECT" and head.protocol is None:
        raise RequestRefused(501, "CONNECT is for proxies")
    if method not in _METHODS:
        name = method_name(config, method.encode())
        if name is None:
            raise RequestRefused(501, NO_METHOD % method)
        head.method = method = name
    if target[0] != SLASH and (target != b"*" or method != "OPTIONS"):
        raise RequestRefused(400, "the request target is not a path")
    if head.longest < 0 or b"#" in target:
        head.target = target = checked_target(target)
    length = head.content_length
    if length and length > runtime.limit_body and length > (limit := runtime.body_limit(target)):
        raise RequestRefused(413, f"the body is larger than {limit} bytes")


def check_fields(config: Config, headers: list[Field]) -> bool:
    """Whether a name has an underscore; raises `RequestRefused` for a field that is too long, or asks too much."""
    longest = config.limit_request_field_size
    underscored = False
    for name, value in headers:
        if longest and len(name) + len(value) > longest:
            raise RequestRefused(431, f"a header field is longer than {longest} bytes")
        if b"_" in name:
            underscored = True
        elif name == b"expect" and expectations(value) - {b"100-continue"}:
            raise RequestRefused(417, "an expectation other than 100-continue")
    return underscored
