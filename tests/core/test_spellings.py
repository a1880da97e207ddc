"""Values as uvicorn's users spell them."""

from __future__ import annotations

import configparser
import io
import ssl
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core.config import Config


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application to name."""


@pytest.mark.parametrize(
    ("name", "spelled", "value"),
    [
        ("log_level", "INFO", "info"),
        ("log_level", 20, "info"),
        ("log_level", "20", "info"),
        ("log_level", 5, "trace"),
        ("log_level", 0, "info"),
        ("log_level", 25, "warning"),
        ("log_level", 60, "critical"),
        ("log_level", None, "info"),
        ("ws", "wsproto", "auto"),
        ("ws", "websockets-sansio", "auto"),
        ("ws", "websockets", "websockets"),
        ("ws", "None", "none"),
        ("http", "zttp", "auto"),
        ("http", "H11", "h11"),
        ("http2", True, "on"),
        ("http2", False, "off"),
        ("http2", "true", "on"),
        ("http2", 0, "off"),
        ("loop", "none", "asyncio:new_event_loop"),
        ("loop", "zuvloop", "auto"),
        ("access_log", 1, True),
        ("access_log", "True", True),
        ("server_header", "0", False),
        ("timeout_keep_alive", "75", 75),
        ("timeout_request", "1h30m", 5400),
        ("timeout_request", "1.5s", 1.5),
        ("timeout_write", "250ms", 0.25),
        ("backlog", "128", 128),
        ("limit_concurrency", "none", None),
        ("ssl_version", ssl.PROTOCOL_TLS_SERVER, None),
        ("ssl_version", "17", None),
        ("ssl_version", ssl.PROTOCOL_TLSv1_2, "TLSv1.2"),
        ("ssl_cert_reqs", "2", 2),
        ("ssl_certfile", Path("cert.pem"), "cert.pem"),
        ("env_file", Path(".env"), ".env"),
        ("log_config", Path("log.yaml"), "log.yaml"),
        ("ssl_keyfile_password", "none", "none"),
        ("headers", "x-one: 1;;x-two: 2", [("x-one", "1"), ("x-two", "2")]),
        ("headers", ["x-one:1", "x-two: 2:3"], [("x-one", "1"), ("x-two", "2:3")]),
    ],
)
def test_it_means(name: str, spelled: Any, value: Any) -> None:
    taken = getattr(Config(app, **{name: spelled}), name)
    assert taken == value
    assert type(taken) is type(value)


def test_an_open_ini_file_is_read_once() -> None:
    """uvicorn takes what logging.config.fileConfig takes."""
    config = Config(app, log_config=io.StringIO("[loggers]\nkeys = root"))
    assert isinstance(config.log_config, configparser.RawConfigParser)
    assert config.log_config.get("loggers", "keys") == "root"
