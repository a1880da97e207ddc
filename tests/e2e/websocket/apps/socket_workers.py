"""Workers with options of their own, as the documentation says how."""

from __future__ import annotations

from uvicorn_worker import UvicornH11Worker, UvicornWorker

OPTIONS = {"ws_ping_interval": 0.5, "ws_ping_timeout": 0.5, "ws_max_size": 1000}


class Impatient(UvicornWorker):
    CONFIG_KWARGS = OPTIONS


class ImpatientH11(UvicornH11Worker):
    CONFIG_KWARGS = OPTIONS


class Plain(UvicornWorker):
    CONFIG_KWARGS = {"ws": "none"}  # noqa: RUF012


class PlainH11(UvicornH11Worker):
    CONFIG_KWARGS = {"ws": "none"}  # noqa: RUF012
