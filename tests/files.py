"""Files that are sent, and the message that asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uvicorn_worker.core.asgi import Event

__all__ = ["file_maker", "pathsend"]


def pathsend(path: Any) -> Event:
    """The message of the extension http.response.pathsend."""
    return {"type": "http.response.pathsend", "path": str(path)}


def file_maker(folder: Path) -> Callable[[int], Path]:
    """A function that makes a file of a size."""

    def make_file(size: int) -> Path:
        path = folder / f"file{size}"
        path.write_bytes(os.urandom(size))
        return path

    return make_file
