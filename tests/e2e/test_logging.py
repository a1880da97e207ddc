"""Gunicorn's logging settings, with uvicorn's logger names in them."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import PATIENCE, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

WORKER = "uvicorn_worker.UvicornWorker"

# One file a handler, so that a test sees which handler a line went through.
FORMATTERS: dict[str, Any] = {
    "named": {"format": "%(name)s %(levelname)s %(message)s"},
    "parts": {"format": "%(client_addr)s %(request_line)s %(status_code)s"},
    "uvicorn": {
        "()": "uvicorn.logging.AccessFormatter",
        "fmt": "%(request_line)s %(status_code)s",
        "use_colors": False,
    },
    "json": {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": "%(name)s %(message)s"},
}
HANDLERS = {
    **{name: {"class": "logging.FileHandler", "filename": name, "formatter": name} for name in FORMATTERS},
    "root": {"class": "logging.FileHandler", "filename": "root", "formatter": "named"},
}


def config_of(loggers: dict[str, Any], *handlers: str) -> dict[str, Any]:
    """A configuration whose root logger has a handler too."""
    used = [*handlers, "named", "root"]
    return {
        "version": 1,
        "formatters": {name: FORMATTERS[name] for name in used if name in FORMATTERS},
        "handlers": {name: HANDLERS[name] for name in used},
        "loggers": loggers,
        "root": {"level": "INFO", "handlers": ["root"]},
    }


BOTH = config_of(
    {"uvicorn.access": {"handlers": ["named", "parts"]}, "uvicorn.error": {"handlers": ["named"]}}, "parts"
)
INI = """
[loggers]
keys = root, error, access
[handlers]
keys = named, root
[formatters]
keys = named
[formatter_named]
format = %(name)s %(levelname)s %(message)s
[handler_named]
class = FileHandler
formatter = named
args = ("named",)
[handler_root]
class = FileHandler
formatter = named
args = ("root",)
[logger_root]
level = INFO
handlers = root
[logger_error]
qualname = uvicorn.error
handlers = named
[logger_access]
qualname = uvicorn.access
handlers = named
"""


def as_json(config: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    return ["-c", "gunicorn.conf.py"], {
        "gunicorn.conf.py": 'logconfig_json = "log.json"',
        "log.json": json.dumps(config),
    }


def as_dict(config: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    return ["-c", "gunicorn.conf.py"], {"gunicorn.conf.py": f"logconfig_dict = {config!r}"}


def ask(server: Gunicorn, target: str = "/x?y") -> None:
    with server.connect() as connection:
        assert connection.get(target).status == 200


@pytest.mark.parametrize("form", ["dict", "json", "ini"])
def test_uvicorns_loggers_each_line_once(serve: Serve, form: str) -> None:
    if form == "ini":
        options, files = ["--log-config", "log.ini"], {"log.ini": INI}
    else:
        options, files = as_dict(BOTH) if form == "dict" else as_json(BOTH)
    server = serve("probe:app", *options, worker=WORKER, files=files)
    ask(server)
    server.stop_gracefully()
    named = server.read("named")
    assert (
        len(re.findall(r'^uvicorn\.access INFO 127\.0\.0\.1:\d+ - "GET /x\?y HTTP/1\.1" 200$', named, re.MULTILINE))
        == 1
    )
    assert named.count("uvicorn.error INFO Application startup complete.") == 1
    assert server.read("root") == ""
    assert "Application startup" not in server.log
    assert "Booting worker" in server.log
    if form != "ini":
        assert re.fullmatch(r"127\.0\.0\.1:\d+ GET /x\?y HTTP/1\.1 200\n", server.read("parts"))


def test_both_access_loggers(serve: Serve) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("pythonjsonlogger")
    loggers = {"uvicorn.access": {"handlers": ["uvicorn", "json"]}, "gunicorn.access": {"handlers": ["named"]}}
    options, files = as_dict(config_of(loggers, "uvicorn", "json"))
    server = serve("probe:app", *options, "--access-logformat", "%(m)s %(U)s", worker=WORKER, files=files)
    ask(server)
    server.stop_gracefully()
    assert server.read("named") == "gunicorn.access INFO GET /x\n"
    assert server.read("uvicorn") == "GET /x?y HTTP/1.1 200 OK\n"
    record = json.loads(server.read("json"))
    assert record.pop("client_addr").startswith("127.0.0.1:")
    assert {name: record[name] for name in ("name", "message", "request_line", "status_code")} == {
        "name": "uvicorn.access",
        "message": "GET /x",
        "request_line": "GET /x?y HTTP/1.1",
        "status_code": 200,
    }
    assert server.read("root") == ""


def test_everything_through_the_root_logger(serve: Serve) -> None:
    names = ("gunicorn.error", "gunicorn.access", "uvicorn.error", "uvicorn.access")
    config = config_of({name: {"handlers": [], "propagate": True} for name in names})
    config["handlers"]["root"] = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "named"}
    options, files = as_dict(config)
    server = serve("probe:app", *options, worker=WORKER, files=files)
    ask(server)
    server.stop_gracefully()
    lines = server.log.splitlines()
    assert len([line for line in lines if "GET /x?y" in line]) == 1
    assert lines.count("uvicorn.error INFO Application startup complete.") == 1


def test_the_level_is_gunicorns_after_a_reload_too(serve: Serve) -> None:
    conf = 'errorlog = "error.log"\nloglevel = "{}"\n'
    server = serve("probe:app", worker=WORKER, files={"gunicorn.conf.py": conf.format("info")})
    server.wait_started()
    (server.dir / "gunicorn.conf.py").write_text(conf.format("warning"))
    server.signal(signal.SIGHUP)
    server.wait_started(2)
    server.stop_gracefully()
    # Gunicorn 23 does not change its own level either.
    assert server.log.count("Application startup complete.") == 1
    assert server.log.count("Booting worker") <= 2


@pytest.mark.parametrize("kind", ["udp", "unix"])
@pytest.mark.parametrize("access", [True, False])
def test_syslog(serve: Serve, kind: str, access: bool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if kind == "udp":
            sock.bind(("127.0.0.1", 0))
            address = f"udp://127.0.0.1:{sock.getsockname()[1]}"
        else:
            sock.bind(str(tmp_path / "s"))
            address = f"unix://{tmp_path / 's'}#dgram"
        sock.settimeout(PATIENCE)
        options = ["--log-syslog", "--log-syslog-to", address, "--log-syslog-prefix", "shop"]
        options += ["--log-syslog-facility", "local3", "--access-logformat", "%(m)s %(U)s"]
        options += [] if access else ["--disable-redirect-access-to-syslog"]
        server = serve("probe:app", *options, worker=WORKER)
        ask(server)
        server.signal(signal.SIGTERM)
        seen: list[str] = []
        while not seen or "Shutting down: Master" not in seen[-1]:
            seen.append(sock.recv(4096).decode().rstrip("\0"))
    # Facility 19, severity 6.
    pids = r"\[\d+\]"
    assert len([m for m in seen if re.fullmatch(rf"<158>gunicorn\.shop\.access: {pids} GET /x", m)]) == access
    startup = rf"<158>gunicorn\.shop\.error: {pids} Application startup complete\."
    assert len([m for m in seen if re.fullmatch(startup, m)]) == 1


def test_messages_at_trace(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--log-level", "trace", "--access-logfile", "access.log", worker=worker)
    ask(server)
    server.stop_gracefully()
    assert re.search(r"\[TRACE\] ASGI \[1\] Receive \{'type': 'lifespan\.startup'\}", server.log)
    assert re.search(r"\[TRACE\] 127\.0\.0\.1:\d+ - ASGI \[2\] Send .*'http\.response\.body'.*<13 bytes>", server.log)
    assert server.read("access.log").count("GET /x?y") == 1


def test_captured_output(serve: Serve) -> None:
    options = ("--capture-output", "--error-logfile", "error.log", "--env", "PROBE_LIFESPAN=ok")
    files = {"talks.py": "import sys\nfrom probe import app\nprint('said aloud', flush=True)\n"}
    server = serve("talks:app", *options, worker=WORKER, files=files)
    server.wait_started()
    server.stop_gracefully()
    assert server.read("error.log").count("said aloud\n") == 1
    assert server.read("error.log").count("Application startup complete.") == 1


def test_a_reload_of_idle_workers_is_two_lines_for_each(serve: Serve) -> None:
    server = serve("probe:app", "--access-logfile", "-", worker=WORKER, workers=4)
    server.wait_started(4)
    server.wait_log("Ready in")
    before = len(server.log.splitlines())
    server.signal(signal.SIGHUP)
    server.wait_events("shutdown", 4)
    server.wait_log(r"(?s)(Worker exiting.*){4}")
    lines = server.log.splitlines()[before:]
    assert len(lines) == 10, lines
    assert sum("Booting worker" in line for line in lines) == sum("Worker exiting" in line for line in lines) == 4
    server.stop_gracefully()


def test_an_exception_of_the_application_counts_with_statsd(serve: Serve) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        server = serve("log_setups:app", "--statsd-host", f"127.0.0.1:{sock.getsockname()[1]}", worker=WORKER)
        assert server.get("/error").status_code == 500
        seen = b""
        while b"gunicorn.request.status.500" not in seen or b"gunicorn.log.exception:1" not in seen:
            seen += sock.recv(4096)
        server.stop_gracefully()


# Each line of the set-up that docs/logging.md prints.
GUIDE = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
# The harness reads stderr.
DOCUMENTED = "logconfig_dict" + GUIDE.partition("\nlogconfig_dict")[2].partition("```")[0].replace(
    "sys.stdout", "sys.stderr"
)


def test_the_documented_json(serve: Serve) -> None:
    pytest.importorskip("pythonjsonlogger")
    server = serve("log_setups:app", worker=WORKER, files={"gunicorn.conf.py": DOCUMENTED})
    assert server.get("/x?y").status_code == 200
    assert server.get("/error").status_code == 500
    pid = server.workers()[0]
    server.stop_gracefully()
    records = [json.loads(line) for line in server.log.splitlines()]
    assert {record["process"] for record in records} == {server.pid, pid}
    (record,) = (each for each in records if each.get("path") == "/x")
    assert (record["method"], record["bytes"], record["status_code"], record["process"]) == ("GET", 2, 200, pid)
    assert record["duration"] >= 0
    assert any("this view fails" in record.get("exc_info", "") for record in records)


@pytest.mark.parametrize("form", ["option", "logger_class"])
def test_uvicorns_own_configuration(serve: Serve, form: str) -> None:
    if form == "option":
        conf = "from uvicorn_worker import UvicornWorker\nfrom uvicorn_worker.logs.formatters import LOGGING_CONFIG\n"
        conf += "worker_class = UvicornWorker.configure(log_config=LOGGING_CONFIG, use_colors=False)\n"
        server = serve("log_setups:app", files={"gunicorn.conf.py": conf})
    else:
        conf = "from uvicorn_worker.logs.formatters import LOGGING_CONFIG as logconfig_dict\n"
        conf += 'logger_class = "uvicorn_worker.worker.logger.Logger"\n'
        server = serve("log_setups:app", worker=WORKER, files={"gunicorn.conf.py": conf})
    assert server.get("/x?y").status_code == 200
    server.stop_gracefully()
    assert re.findall(r'^INFO:     127\.0\.0\.1:\d+ - "(.*)" (.*)$', server.out, re.MULTILINE) == [
        ("GET /x?y HTTP/1.1", "200 OK")
    ]
    assert server.log.count("INFO:     Application startup complete.\n") == 1
