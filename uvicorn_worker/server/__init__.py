"""Takes sockets, a Config and an application; knows neither Gunicorn nor any wire format."""

from uvicorn_worker.server.server import Server

__all__ = ["Server"]
