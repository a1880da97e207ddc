"""`get_subprocess`, and what it starts, where uvicorn has them: for subclasses that start processes themselves."""

import multiprocessing
from multiprocessing.context import SpawnProcess

from uvicorn_worker.supervisors.child import get_subprocess, subprocess_started

__all__ = ["SpawnProcess", "get_subprocess", "spawn", "subprocess_started"]

spawn = multiprocessing.get_context("spawn")
