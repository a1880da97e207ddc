"""`import_from_string`, where uvicorn has it."""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.errors import AppLoadError
from uvicorn_worker.server.loading import import_name

__all__ = ["ImportFromStringError", "import_from_string"]

ImportFromStringError = AppLoadError


def import_from_string(import_str: Any) -> Any:
    """What 'module:attribute' names; an object is given back as it is. Raises `ImportFromStringError`."""
    return import_name(import_str, "the name") if isinstance(import_str, str) else import_str
