"""A ``logger_class`` with an ``access`` of its own, which looks at all that it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eventlog import event
from gunicorn.glogging import Logger

if TYPE_CHECKING:
    from datetime import timedelta


class EventLogger(Logger):  # type: ignore[misc] # Gunicorn has no types
    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        atoms = self.atoms(resp, req, environ, request_time)
        seen = {
            "status": int(str(resp.status).split()[0]),
            "sent": resp.sent,
            "response_headers": {str(name).lower(): str(value) for name, value in resp.headers},
            "request_headers": {str(name).lower(): str(value) for name, value in req.headers},
            # As for a mapping: many are written so, and never called under uvicorn's worker.
            "asked": [req.headers.get("X-In"), resp.headers.get("X-Out"), req.headers.get("X-None", "-")],
            "method": environ["REQUEST_METHOD"],
            "target": environ["RAW_URI"],
            "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "protocol": environ["SERVER_PROTOCOL"],
            "peer": environ["REMOTE_ADDR"],
            "seconds": request_time.total_seconds(),
            "atoms": {name: str(atoms[name]) for name in "hlutrsmUqHbBfaTDMLp"},
        }
        event("access", json.dumps(seen))
