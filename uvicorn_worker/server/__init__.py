"""Takes a Config with an application, and sockets; knows neither Gunicorn nor any wire format."""

from uvicorn_worker.server.config import Config
from uvicorn_worker.server.server import Server
from uvicorn_worker.server.state import ServerState
from uvicorn_worker.server.surroundings import HANDLED_SIGNALS

__all__ = ["HANDLED_SIGNALS", "Config", "Server", "ServerState"]
