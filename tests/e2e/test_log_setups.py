"""Applications that arrange logging for themselves, with the packages that they use: uvicorn's lines, each once.

What is expected here was written by uvicorn's own worker for the same applications.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.harness import PATIENCE
from tests.e2e.websocket.client import end, open_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

WORKER = "uvicorn_worker.UvicornWorker"
H2C = "uvicorn_worker.UvicornH2CWorker"
PLACES = ["import", "post_fork", "lifespan"]
POST_FORK = "def post_fork(server, worker):\n    import log_setups\n    log_setups.set_up()\n"

PACKAGES = {
    "loguru_root": "loguru",
    "loguru_each": "loguru",
    "structlog_root": "structlog",
    "json_formatter": "pythonjsonlogger",
    "uvicorn_formatter": "uvicorn",
}
PLAIN = 'CLIENT - "GET /x?y HTTP/1.1" 200', 'CLIENT - "GET /health HTTP/1.1" 200', 'CLIENT - "GET /error HTTP/1.1" 500'
NO_HEALTH = [PLAIN[0], PLAIN[2]]
LINES = {
    "loguru_root": [f"loguru {line}" for line in PLAIN],
    "loguru_each": [f"loguru {line}" for line in PLAIN],
    "structlog_root": [],
    "dict_config": [f"uvicorn.access INFO {line}" for line in PLAIN],
    "uvicorn_formatter": [f"when {PLAIN[0]} OK", f"when {PLAIN[1]} OK", f"when {PLAIN[2]} Internal Server Error"],
    "filter_on_handlers": NO_HEALTH,
    "own_handler_beside": [text for line in PLAIN for text in (line, f"own {line}")],
    "silent": [],
}


def ask(server: Gunicorn) -> None:
    for path, status in (("/x?y", 200), ("/health", 200), ("/error", 500)):
        assert server.get(path).status_code == status
    server.stop_gracefully()


def lines_of(text: str) -> list[str]:
    """The access lines, whoever wrote them."""
    text = re.sub(r"127\.0\.0\.1:\d+", "CLIENT", text)
    return [line for line in text.splitlines() if "GET /" in line and "Exception" not in line]


def start(serve: Serve, setup: str, place: str, *options: str, files: dict[str, str] | None = None) -> Gunicorn:
    if setup in PACKAGES:
        pytest.importorskip(PACKAGES[setup])
    files = {**(files or {}), **({"gunicorn.conf.py": POST_FORK} if place == "post_fork" else {})}
    env = {"SETUP": setup, "WHERE": place}
    return serve("log_setups:app", "--access-logfile", "-", *options, worker=WORKER, env=env, files=files)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("setup", LINES)
def test_the_lines_are_uvicorns_and_each_is_there_once(serve: Serve, setup: str, place: str) -> None:
    server = start(serve, setup, place)
    ask(server)
    assert lines_of(server.out) == LINES[setup]
    assert lines_of(server.log) == []
    # Gunicorn's own lines are where they were.
    assert "Booting worker" in server.log


@pytest.mark.parametrize("place", PLACES)
def test_json_on_the_handlers_that_are_there(serve: Serve, place: str) -> None:
    server = start(serve, "json_formatter", place)
    ask(server)
    records = [json.loads(line) for line in lines_of(server.out)]
    assert [(record["name"], record["message"]) for record in records] == [("uvicorn.access", line) for line in PLAIN]
    assert [(record["method"], record["path"], record["status_code"], record["bytes"]) for record in records] == [
        ("GET", "/x", 200, 2),
        ("GET", "/health", 200, 2),
        ("GET", "/error", 500, 21),
    ]
    assert all(0 <= record["duration"] < 60 for record in records)
    errors = [json.loads(line) for line in server.log.splitlines() if line.startswith('{"')]
    assert [error["name"] for error in errors if "exc_info" in error] == ["uvicorn.error"]


@pytest.mark.parametrize("place", PLACES)
def test_a_filter_on_the_logger_leaves_the_form_of_the_lines_alone(serve: Serve, place: str) -> None:
    server = start(serve, "filter_on_logger", place, "--access-logformat", "%(m)s %(U)s %(s)s")
    ask(server)
    assert lines_of(server.out) == ["GET /x 200", "GET /error 500"]


def test_the_access_log_format_holds_for_uvicorns_lines_too(serve: Serve) -> None:
    server = start(serve, "own_handler_beside", "import", "--access-logformat", "%(m)s %(U)s %(s)s")
    ask(server)
    assert lines_of(server.out)[:2] == ["GET /x 200", "own GET /x 200"]


# As in a well-known article on loguru: all loggers are taken over before Gunicorn has its own.
STUBBED = """
import logging, sys
from gunicorn.glogging import Logger
import log_setups
from loguru import logger

class StubbedGunicornLogger(Logger):
    def setup(self, cfg):
        handler = logging.NullHandler()
        self.error_logger = logging.getLogger("gunicorn.error")
        self.error_logger.addHandler(handler)
        self.access_logger = logging.getLogger("gunicorn.access")
        self.access_logger.addHandler(handler)
        self.error_logger.setLevel("INFO")
        self.access_logger.setLevel("INFO")

logger_class = StubbedGunicornLogger
intercept = log_setups.Intercept()
logging.root.setLevel("INFO")
seen = set()
names = [*logging.root.manager.loggerDict, "gunicorn", "gunicorn.access", "gunicorn.error",
         "uvicorn", "uvicorn.access", "uvicorn.error"]
for name in names:
    if name not in seen:
        seen.add(name.split(".")[0])
        logging.getLogger(name).handlers = [intercept]
logger.configure(handlers=[{"sink": sys.stderr, "format": "loguru {message}", "diagnose": False}])
"""

# As Airflow does it for its API server: a logger class that gives both of Gunicorn's loggers handlers of its own.
LOGGER_CLASS = """
import logging, sys
from gunicorn.glogging import Logger

class OwnLogger(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("own %(name)s %(message)s"))
            log.handlers = [handler]

logger_class = OwnLogger
"""


# A program that serves by itself, too.
UNSERVED = """
import logging
import uvicorn_worker

async def app(scope, receive, send):
    if scope["type"] == "http":
        logging.getLogger("uvicorn.error").info("its own line")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

config = uvicorn_worker.Config(app, port=1, log_level="warning")
"""


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["in the worker", "preloaded"])
def test_a_config_that_nobody_serves_leaves_gunicorns_lines_where_they_are(serve: Serve, preload: list[str]) -> None:
    options = ["--access-logfile", "access", "--error-logfile", "error.log", *preload]
    server = serve("unserved:app", *options, worker=WORKER, files={"unserved.py": UNSERVED})
    assert server.get("/").status_code == 200
    server.stop_gracefully()
    assert '"GET / HTTP/1.1" 200' in server.read("access")
    assert "its own line" in server.read("error.log")
    assert "INFO:" not in server.read("stderr")


def test_a_stubbed_logger_under_loguru(serve: Serve) -> None:
    pytest.importorskip("loguru")
    server = serve("log_setups:app", "--access-logfile", "-", worker=WORKER, files={"gunicorn.conf.py": STUBBED})
    ask(server)
    assert lines_of(server.log) == [f"loguru {line}" for line in PLAIN]
    assert server.log.count("Booting worker") == server.log.count("loguru Exception in ASGI application") == 1


def test_a_logger_class_with_handlers_of_its_own(serve: Serve) -> None:
    options = ("--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s")
    server = serve("log_setups:app", *options, worker=WORKER, files={"gunicorn.conf.py": LOGGER_CLASS})
    ask(server)
    expected = [("/x", 200), ("/health", 200), ("/error", 500)]
    assert re.findall(r"^own gunicorn.access GET (\S+) (\d+)$", server.log, re.MULTILINE) == [
        (path, str(status)) for path, status in expected
    ]
    assert server.log.count("own uvicorn.error Exception in ASGI application") == 1


def test_handlers_of_a_logger_class_are_enough_for_access_lines(serve: Serve) -> None:
    """Without `accesslog`, as under uvicorn's worker."""
    server = serve("log_setups:app", worker=WORKER, files={"gunicorn.conf.py": LOGGER_CLASS})
    ask(server)
    assert lines_of(server.log) == [f"own uvicorn.access {line}" for line in PLAIN]


# What a client has sent makes no lines, and logging that fails costs no answer.
BROKEN = """
import logging

def broken(record):
    if "Exception in ASGI" in record.getMessage() or "GET /quiet" in record.getMessage():
        raise RuntimeError("this filter fails")
    return True

def post_fork(server, worker):
    logging.getLogger("uvicorn.error").addFilter(broken)
    logging.getLogger("uvicorn.access").addFilter(broken)
"""


def test_a_filter_that_raises_costs_no_answer(serve: Serve, worker: str) -> None:
    files = {"gunicorn.conf.py": BROKEN}
    server = serve("log_setups:app", "--access-logfile", "-", worker=worker, files=files)
    for path, status in [("/error", 500)] * 3 + [("/quiet", 200)] * 3:
        assert server.get(path).status_code == status
    assert len(server.workers()) == 1
    server.stop_gracefully()
    # Once for the error log on stderr; for the access log there, and in the error log with the place.
    assert server.log.count("lines are lost until it can: RuntimeError: this filter fails") == 2
    assert server.log.count("Traceback") == 1


def test_a_filter_that_raises_costs_no_answer_over_http2_and_websocket(serve: Serve) -> None:
    files = {"gunicorn.conf.py": BROKEN}
    server = serve("log_setups:app", "--access-logfile", "-", worker=H2C, files=files)
    options: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False, "verify": False}
    with httpx.Client(base_url=server.url, http1=False, http2=True, **options) as client:
        for path, status, code in [("/error", 500, 1011), ("/quiet", 200, 1000)] * 2:
            assert client.get(path).status_code == status
            with open_socket(server, path) as socket:
                assert end(socket) == (code, "")
    assert len(server.workers()) == 1
    server.stop_gracefully()
    # The access log fails for each second line: that is no more lines than if it failed for all.
    assert server.log.count("lines are lost until it can: RuntimeError: this filter fails") == 2
    assert server.log.count("Traceback") == 1


def test_lines_are_the_servers_alone(serve: Serve, worker: str) -> None:
    form = "%(U)s|%(u)s|%({x-note}i)s"
    server = serve("log_setups:app", "--access-logfile", "-", "--access-logformat", form, worker=worker)
    # The user is `a`, a line feed, `b"`.
    fields = 'Authorization: Basic YQpiIjpw\r\nX-Note: \x9b31m \\ "\r\n'
    with server.connect() as connection:
        connection.send(f"GET /error%0Aforged%22 HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode("latin-1"))
        assert connection.response().status == 200
    with server.connect() as connection:
        connection.send(b"GET /error?%0A HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.response().status == 500
    server.stop_gracefully()
    assert server.out.splitlines() == [
        "/error\\x0Aforged\\x22|a\\x0Ab\\x22|\\x9B31m \\x5C \\x22",
        "/error|-|-",
    ]
