"""A Gunicorn configuration file (``-c python:request_hooks``) whose request hooks report what they see."""

from __future__ import annotations

import json
from typing import Any

from eventlog import event


def pre_request(worker: Any, req: Any) -> None:
    event("pre_request", json.dumps([worker.pid, req.method, req.uri, dict(req.headers).get("X-IN")]))
    if req.path == "/refused":
        raise RuntimeError("not this one")
    req.headers.append(("X-HOOK", "added"))


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    event("post_request", json.dumps([req.uri, environ["PATH_INFO"], resp.status, resp.sent, dict(resp.headers)]))
