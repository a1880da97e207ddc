"""`get_subprocess`, where uvicorn has it: for subclasses of its supervisors that start processes themselves."""

from uvicorn_worker.supervisors.child import get_subprocess

__all__ = ["get_subprocess"]
