"""Takes a Config with an application, and sockets; knows neither Gunicorn nor any wire format."""

import logging

from uvicorn_worker.core.errors import STARTUP_FAILURE
from uvicorn_worker.server.config import Config
from uvicorn_worker.server.server import Server
from uvicorn_worker.server.state import ServerState
from uvicorn_worker.server.surroundings import HANDLED_SIGNALS

__all__ = ["HANDLED_SIGNALS", "STARTUP_FAILURE", "Config", "Server", "ServerState", "logger"]

logger = logging.getLogger("uvicorn.error")
"""What uvicorn's module of this name has; the server itself writes on it."""
