"""What uvicorn's users have set in the environment, in pyproject.toml and in CONFIG_KWARGS: it starts here too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import uvicorn_worker
from tests.e2e.harness import APPS, H11, HTTPTOOLS, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

# The command's options, as they are found in images and compose files.
COMMAND = {
    "UVICORN_HOST": "0.0.0.0",
    "UVICORN_PORT": "8000",
    "UVICORN_WORKERS": "1",
    "UVICORN_RELOAD": "true",
    "UVICORN_WORKER_CLASS": "uvicorn.workers.UvicornWorker",
    "UVICORN_APP": "main:app",
    "UVICORN_FD": "3",
    "UVICORN_UDS": "/run/app.sock",
    "UVICORN_APP_DIR": "src",
    "UVICORN_LOG_LEVEL": "INFO",
    "UVICORN_VERSION": "0.54.0",
    "UVICORN_WS": "",
}
UNKNOWN = {"UVICORN_WSS": "1", "UVICORN_EXTRA_ARGS": "--reload"}
# A service called uvicorn, in the same namespace.
KUBERNETES = {
    "UVICORN_SERVICE_HOST": "10.0.0.1",
    "UVICORN_SERVICE_PORT": "8000",
    "UVICORN_PORT": "tcp://10.0.0.1:8000",
    "UVICORN_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "UVICORN_PORT_8000_TCP_PROTO": "tcp",
}
HANDBOOK = """
[tool.uvicorn]
app = "main:create_app"
factory = true
host = "0.0.0.0"
port = 8000
workers = 4
log_level = "info"
access_log = true
reload = true
"""
FACTORY = "from probe import app\ndef create_app():\n    return app\n"

OWN_WORKERS = """
import inspect
import eventlog
import uvicorn
from uvicorn_worker import UvicornH11Worker, UvicornWorker

PARAMETERS = inspect.signature(uvicorn.Config).parameters

async def notify():
    eventlog.event("notified")

class Defaults(UvicornWorker):
    CONFIG_KWARGS = {**{name: item.default for name, item in PARAMETERS.items()}, "app": None}

class Nones(UvicornWorker):
    CONFIG_KWARGS = dict.fromkeys(PARAMETERS)

class Spelled(UvicornWorker):
    CONFIG_KWARGS = {
        "loop": "none", "http": "zttp", "http2": True, "ws": "wsproto", "log_level": 20, "access_log": "True",
        "timeout_keep_alive": "75", "limit_concurrency": "none", "workers": 7, "host": "0.0.0.0", "port": 80,
        "reload_dirs": ["src"], "use_colors": False, "timeout_worker_healthcheck": 5, "callback_notify": notify,
        "timeout_notify": 30, "forwarded_allow_ips": "127.0.0.1,localhost", "headers": ["x-from:spelled"],
        "h11_max_incomplete_event_size": 65536,
    }

class Property(UvicornWorker):
    @property
    def CONFIG_KWARGS(self):
        return {**super().CONFIG_KWARGS, "headers": [("x-from", str(self.cfg.workers))]}

class Itself(UvicornH11Worker):
    CONFIG_KWARGS = {**UvicornH11Worker.CONFIG_KWARGS, "server_header": False}
    def __init__(self, *args, **kwargs):
        assert UvicornWorker.CONFIG_KWARGS["loop"] == "auto"
        self.CONFIG_KWARGS = {"headers": [("x-from", "init")]}
        super().__init__(*args, **kwargs)

class LogFile(UvicornH11Worker):
    CONFIG_KWARGS = {"log_config": "log.json", "use_colors": True}

class NoLogFile(UvicornWorker):
    CONFIG_KWARGS = {"log_config": "nowhere.yaml"}

class Protocol(UvicornWorker):
    class Impl: pass
    CONFIG_KWARGS = {"http": Impl}

class Marking(uvicorn.config.import_from_string("uvicorn.protocols.http.h11_impl:H11Protocol")):
    def connection_made(self, transport):
        super().connection_made(transport)
        inner = self.app
        async def marked(scope, receive, send):
            async def send_marked(message):
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-from", b"a protocol")]}
                await send(message)
            await inner(scope, receive, send_marked)
        self.app = marked

class Brought(UvicornWorker):
    CONFIG_KWARGS = {"http": Marking}

class BroughtByName(UvicornH11Worker):
    CONFIG_KWARGS = {"http": "own_workers:Marking", "ws": "none"}

class Unknown(UvicornWorker):
    CONFIG_KWARGS = {"reloads": True}

UvicornWorker.CONFIG_KWARGS["date_header"] = False
"""


LOG_CONFIG = """{
    "version": 1,
    "disable_existing_loggers": false,
    "formatters": {"access": {"()": "uvicorn.logging.AccessFormatter", "fmt": "own: %(request_line)s %(status_code)s"}},
    "handlers": {"access": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "access"}},
    "loggers": {"uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": false}}
}"""


def subclass(serve: Serve, name: str, *options: str) -> Gunicorn:
    files = {"own_workers.py": OWN_WORKERS, "log.json": LOG_CONFIG}
    return serve("probe:app", *options, worker=f"own_workers.{name}", files=files)


def lines(server: Gunicorn, words: str) -> list[str]:
    return [line for line in server.log.splitlines() if words in line]


def test_the_environment_of_uvicorns_command(serve: Serve) -> None:
    server = serve("probe:app", "--log-level", "debug", worker=HTTPTOOLS, env={**COMMAND, **UNKNOWN})
    assert server.get().status_code == 200
    for name in ("HOST", "PORT", "RELOAD", "WORKER_CLASS", "FD", "UDS", "APP_DIR"):
        (line,) = lines(server, f"(from environment variable UVICORN_{name})")
        assert "[INFO]" in line
        assert "has no effect: Gunicorn's " in line
    for name in ("WORKERS", "VERSION"):
        (line,) = lines(server, f"(from environment variable UVICORN_{name})")
        assert "[DEBUG]" in line
    (line,) = lines(server, "[WARNING]")
    assert "unknown options, ignored: UVICORN_WSS (did you mean ws?), UVICORN_EXTRA_ARGS; see docs/" in line
    assert not lines(server, "UVICORN_WS)")


def test_the_table_of_the_handbooks_and_a_service_of_kubernetes(serve: Serve) -> None:
    files = {"pyproject.toml": HANDBOOK, "main.py": FACTORY}
    server = serve("main:create_app", worker=H11, files=files, env=KUBERNETES)
    assert server.get().status_code == 200
    # Only what differs from Gunicorn's is said; nothing of it is worth a warning.
    said = lines(server, "in pyproject.toml) ")
    assert [line.split("option ")[1].split()[0] for line in said] == ["host", "port", "workers", "reload", "access_log"]
    assert not lines(server, "[WARNING]")
    assert not lines(server, "UVICORN_PORT")


@pytest.mark.parametrize("name", ["Defaults", "Nones"])
def test_every_parameter_of_uvicorns_config(serve: Serve, name: str) -> None:
    server = subclass(serve, name)
    response = server.get()
    assert (response.status_code, response.headers["server"]) == (200, "uvicorn")
    assert not lines(server, "[WARNING]")
    assert not lines(server, "[ERROR]")


def test_other_spellings_and_what_has_no_effect(serve: Serve) -> None:
    server = subclass(serve, "Spelled", "--log-level", "debug", "--timeout", "8")
    response = server.get()
    assert response.headers["x-from"] == "spelled"
    # Changed in place, on the class above.
    assert "date" not in response.headers
    for name in ("workers", "host", "reload_dirs", "timeout_worker_healthcheck"):
        (line,) = lines(server, f"option {name} ")
        assert "has no effect" in line
    (line,) = lines(server, "'localhost' is no address and no network, and matches nobody")
    assert "[WARNING]" in line
    (line,) = lines(server, "ws = 'auto' serves in its place")
    assert "[DEBUG]" in line
    assert lines(server, "option timeout_notify = 30: more than half of Gunicorn's timeout = 8")
    server.wait_events("notified", 2)


def test_a_logging_configuration_of_uvicorns_kind(serve: Serve) -> None:
    server = subclass(serve, "LogFile", "--access-logfile", "-")
    assert server.get().status_code == 200
    # In colours, although no terminal is there.
    line = until(lambda: server.read("own.log"), "the access line")
    assert line == "own: \x1b[1mGET / HTTP/1.1\x1b[0m \x1b[32m200 OK\x1b[0m\n"
    assert "GET /" not in server.out


def test_a_property_and_what_init_sets(serve: Serve) -> None:
    assert subclass(serve, "Property").get().headers["x-from"] == "1"
    server = subclass(serve, "Itself")
    response = server.get()
    assert response.headers["x-from"] == "init"
    assert "server" not in response.headers


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Protocol", "must be one of auto, httptools, h11, h2, or a protocol class of your own"),
        ("NoLogFile", "option log_config = 'nowhere.yaml': [Errno 2] No such file or directory: 'nowhere.yaml'"),
        ("Unknown", "option reloads = True (from CONFIG_KWARGS of the worker class): unknown; see docs/settings.md"),
    ],
)
def test_what_would_serve_wrongly_is_refused_in_one_line(serve: Serve, name: str, says: str) -> None:
    server = subclass(serve, name)
    assert server.wait_exit() == 1
    (line,) = [line for line in server.log.splitlines() if line.startswith("Error: ")]
    assert line.endswith(says)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("name", ["Brought", "BroughtByName"])
def test_a_protocol_class_serves(serve: Serve, name: str) -> None:
    server = subclass(serve, name)
    response = server.get("/report")
    assert (response.status_code, response.headers["x-from"]) == (200, "a protocol")
    (line,) = lines(server, "Connections are served by own_workers.Marking")
    assert "[WARNING]" in line
    assert server.stop_gracefully() == 0


def test_two_packages_of_this_name_in_one_folder_are_told(serve: Serve, tmp_path: Path) -> None:
    shutil.copytree(Path(uvicorn_worker.__file__).parent, tmp_path / "uvicorn_worker")
    for version in ("0.4.0", "1.0.0"):
        folder = tmp_path / f"uvicorn_worker-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: uvicorn-worker\nVersion: {version}\n")
    server = serve("probe:app", worker=HTTPTOOLS, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{APPS}"})
    assert server.get().status_code == 200
    (line,) = lines(server, "0.4.0 and 1.0.0 of uvicorn-worker are installed over each other in ")
    assert "[WARNING]" in line
