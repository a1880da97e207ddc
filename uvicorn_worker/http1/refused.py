"""What is known of a request that the server refused before it became one, for its access line."""

from __future__ import annotations

import re
from typing import Any

from uvicorn_worker.core.grammar import TCHAR
from uvicorn_worker.core.target import printable_target
from uvicorn_worker.http1.cycle import RequestCycle

__all__ = ["describe_refused", "fill_refused"]

_START = rf"([{TCHAR}]{{1,32}}) ([!-~]+)(?: HTTP/(1\.0)\r?\n)?".encode()


def fill_refused(
    cycle: RequestCycle, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> RequestCycle:
    """Put what was read of a head into the scope of a request that won't be run, in a form that a log can show."""
    scope = cycle.scope
    cycle.target = target = printable_target(url)
    scope["method"] = method.decode("ascii", "replace")
    scope["headers"] = headers or []
    scope["client"] = cycle.conn.client
    cycle.runtime.scopes.locate(scope, target, None)
    return cycle


def describe_refused(cycle: RequestCycle, parser: Any, url: bytes | None, start: bytes) -> RequestCycle:
    """The same for a head that did not come whole, or was none; `start` is how it began, where that is known."""
    if url is not None:
        return fill_refused(cycle, parser.get_method(), url)
    found = re.match(_START, getattr(parser, "failed_head", start))
    if found is None:
        return fill_refused(cycle, b"-", b"-")
    method, url, old = found.groups()
    if old:
        cycle.scope["http_version"] = "1.0"
    return fill_refused(cycle, method, url)
