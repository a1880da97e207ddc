"""`BaseReload`, where uvicorn has it. A subclass says what has changed (`should_restart()`), or does its own steps."""

from uvicorn_worker.supervisors.reload import ChangeReload

__all__ = ["BaseReload"]

BaseReload = ChangeReload
