"""The file that is served."""

from __future__ import annotations

import functools
import os
import tempfile

__all__ = ["data_file"]


@functools.cache
def data_file(content: bytes) -> str:
    """The path of a file that holds *content*, written once for all servers."""
    path = os.path.join(tempfile.gettempdir(), f"uvicorn-worker-bench-{os.getuid()}-{len(content)}.bin")
    if not os.path.exists(path) or os.path.getsize(path) != len(content):
        with open(f"{path}.{os.getpid()}", "wb") as file:
            file.write(content)
        os.replace(file.name, path)
    return path
