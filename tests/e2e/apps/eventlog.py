"""How apps and hooks tell the test what happened: a line each in the file ``events`` of the server's directory."""

from __future__ import annotations

import os
import time


def event(name: str, detail: object = "") -> None:
    line = f"{time.monotonic():.6f} {os.getpid()} {name} {detail}\n"
    file = os.open(os.path.join(os.environ["E2E_DIR"], "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())  # one write, so that lines of several processes do not mix
    finally:
        os.close(file)
