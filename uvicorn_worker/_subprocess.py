"""`get_subprocess`, and what it starts, where uvicorn has them: for subclasses that start processes themselves."""

from uvicorn_worker.supervisors.child import get_subprocess, subprocess_started

__all__ = ["get_subprocess", "subprocess_started"]
