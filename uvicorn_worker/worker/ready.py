"""The line that says, once for all workers, that they serve."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.binding import url_of
from uvicorn_worker.server.readiness import ready_line
from uvicorn_worker.tls.asked import tls_is_on
from uvicorn_worker.worker.settings import usual_values

__all__ = ["ready"]

# When the master has looked up its worker class; the workers are forked with it.
_BEGAN = time.monotonic()


def ready(config: Config, cfg: Any, sockets: Sequence[Any], loop: object) -> str:
    """The line; `cfg` are Gunicorn's settings, `sockets` those of the master, and `loop` that of a worker."""
    addresses = [url_of(getattr(each, "sock", each), secure=tls_is_on(config)) for each in sockets]
    seconds = time.monotonic() - _BEGAN
    return ready_line(config, addresses, workers=cfg.workers, seconds=seconds, usual=usual_values(config), loop=loop)
