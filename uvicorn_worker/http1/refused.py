"""What is known of a request that the server refused before it became one, for its access line."""

from __future__ import annotations

import re
from typing import Any

from uvicorn_worker.core.grammar import TCHAR
from uvicorn_worker.core.target import split_target
from uvicorn_worker.http1.cycle import RequestCycle

__all__ = ["describe_refused", "fill_refused"]

# A target that is longer, which may be why the request was refused, is shown by its beginning.
_TARGET_SHOWN = 1024

_match_start = re.compile(rf"([{TCHAR}]{{1,32}}) ([!-~]+)(?: HTTP/(1\.0)\r?\n)?".encode()).match
_encode_unprintable = re.compile(rb"[^!-~]").sub


def fill_refused(
    cycle: RequestCycle, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> RequestCycle:
    """Put what was read of a head into the scope of a request that won't be run, in a form that a log can show."""
    target = _encode_unprintable(lambda found: b"%%%02X" % found[0][0], url[:_TARGET_SHOWN])
    scope = cycle.scope
    cycle.target = target
    scope["method"] = method.decode("ascii", "replace")
    scope["path"], scope["raw_path"], scope["query_string"] = split_target(target)
    scope["headers"] = headers or []
    scope["client"] = cycle.conn.client
    return cycle


def describe_refused(cycle: RequestCycle, parser: Any, url: bytes | None, start: bytes) -> RequestCycle:
    """The same for a head that did not come whole, or was none; `start` is how it began, where that is known."""
    if url is not None:
        return fill_refused(cycle, parser.get_method(), url)
    found = _match_start(getattr(parser, "failed_head", start))
    if found is None:
        return fill_refused(cycle, b"-", b"-")
    method, url, old = found.groups()
    if old:
        cycle.scope["http_version"] = "1.0"
    return fill_refused(cycle, method, url)
