"""`LifespanOff`, where uvicorn has it."""

from uvicorn_worker.server.own_lifespan import LifespanOff

__all__ = ["LifespanOff"]
