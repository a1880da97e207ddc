"""Whether an application is one to which the server offers to send files (`http.response.pathsend`).

Starlette's files ask for it wherever it is announced, and what is between the server and them has to know it: what
looks at `http.response.body` alone does not see such a file, `response.body_iterator` of a BaseHTTPMiddleware has a
message in the place of bytes, and GZipMiddleware lets it pass as it is. So where the option says `auto`, it is not
announced to an application that has such middleware, as far as that can be seen.
"""

from __future__ import annotations

import contextlib
from typing import Any

from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.runtime import Runtime

__all__ = ["offer_files", "unknown_middleware"]

# Middleware that looks at no body.
_HARMLESS = frozenset(
    {
        "starlette.middleware.authentication.AuthenticationMiddleware",
        "starlette.middleware.cors.CORSMiddleware",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.exceptions.ExceptionMiddleware",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
        "starlette.middleware.sessions.SessionMiddleware",
        "starlette.middleware.trustedhost.TrustedHostMiddleware",
        "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware",
    }
)
# What is in these holds applications, or is ours.
_HOLDERS = ("starlette.applications", "starlette.routing", "fastapi.", "uvicorn_worker.")
# How many parts of an application are looked at: one that makes them as it is asked has no end.
_MOST_PARTS = 10_000


def offer_files(runtime: Runtime, app: Any, log: OwnLog) -> None:
    """Take the offer back where the option leaves it to what the application is, which has started."""
    if runtime.config.pathsend == "auto" and (middleware := unknown_middleware(app)):
        runtime.scopes.offer_no_files()
        log.debug("Files are not offered to be sent (pathsend = auto): %s may not know of it", middleware)


def unknown_middleware(app: Any) -> str | None:
    """The name of a class of middleware in an application of which it is not known that it looks at no body; or None.

    Looked at are what has an `app`, and Starlette's and FastAPI's middleware, routes and mounted applications. What a
    function wraps is not seen.
    """
    parts: list[Any] = [app]
    seen: set[int] = set()
    while parts and len(seen) < _MOST_PARTS:
        part = parts.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        for added in _list(part, "user_middleware"):
            name = _name(getattr(added, "cls", None))
            if name not in _HARMLESS:
                return name
        parts.append(_of(part, "middleware_stack"))
        parts += _list(part, "routes")
        inner = _of(part, "app")
        if callable(inner):
            name = _name(type(part))
            if name not in _HARMLESS and not name.startswith(_HOLDERS):
                return name
            parts.append(inner)
    return None


def _of(part: Any, name: str) -> Any:
    # Objects of others may raise what they like.
    with contextlib.suppress(Exception):
        return getattr(part, name, None)
    return None


def _list(part: Any, name: str) -> list[Any]:
    found = _of(part, name)
    return list(found) if isinstance(found, (list, tuple)) else []


def _name(cls: Any) -> str:
    return f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', cls)}"
