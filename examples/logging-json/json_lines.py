"""The formatter of the access log: what Gunicorn's atoms say of a request, as a line of JSON."""

import json
import logging
from datetime import datetime, timezone
from typing import Any


class AccessJson(logging.Formatter):
    """The arguments of a record of gunicorn.access are the atoms, each computed when it is asked for."""

    def format(self, record: logging.LogRecord) -> str:
        atoms: Any = record.args
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
                "client": atoms["h"],
                "method": atoms["m"],
                "path": atoms["U"],
                "status": int(atoms["s"]),
                "bytes": atoms["B"],
                "us": atoms["D"],
                "agent": atoms["a"],
            }
        )
