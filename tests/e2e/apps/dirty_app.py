"""An application for Gunicorn's dirty workers, of the smallest kind."""

from __future__ import annotations

from typing import Any

from gunicorn.dirty.app import DirtyApp


class DirtyEcho(DirtyApp):
    def init(self) -> None:
        """Nothing to load."""

    def __call__(self, action: str, *args: Any, **kwargs: Any) -> Any:
        return action

    def close(self) -> None:
        """Nothing to give back."""
