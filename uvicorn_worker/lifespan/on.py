"""`LifespanOn`, where uvicorn has it: for code that runs a lifespan, or puts something around a server's."""

from uvicorn_worker.server.own_lifespan import LifespanOn

__all__ = ["LifespanOn"]
