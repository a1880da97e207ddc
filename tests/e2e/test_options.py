"""Where options come from: code, the environment, pyproject.toml, Gunicorn's settings; seen by their effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

CONF = """
from uvicorn_worker import UvicornWorker
worker_class = UvicornWorker.configure(server_header=False).configure(headers=[("x-from", "code")])
"""
PYPROJECT = """
[tool.uvicorn]
headers = [["x-from", "pyproject"]]
date-header = false
"""


def headers(server: Gunicorn) -> dict[str, str]:
    return dict(server.get().headers)


def test_code_wins_over_the_environment_and_that_over_pyproject(serve: Serve) -> None:
    files = {"pyproject.toml": PYPROJECT}
    seen = headers(serve("probe:app", worker=HTTPTOOLS, files=files))
    assert seen["x-from"] == "pyproject"
    assert "date" not in seen
    seen = headers(serve("probe:app", worker=HTTPTOOLS, files=files, env={"UVICORN_HEADERS": "x-from: environment"}))
    assert seen["x-from"] == "environment"
    assert "date" not in seen
    files["gunicorn.conf.py"] = CONF
    seen = headers(serve("probe:app", files=files, env={"UVICORN_HEADERS": "x-from: environment"}))
    assert seen["x-from"] == "code"
    assert "date" not in seen
    assert "server" not in seen


def test_gunicorns_env_option_reaches_the_worker(serve: Serve) -> None:
    assert headers(serve("probe:app", "--env", "UVICORN_HEADERS=x-from: env", worker=H11))["x-from"] == "env"


@pytest.mark.parametrize(
    ("env", "files", "says"),
    [
        ({"UVICORN_WS": "no"}, {}, "option ws = 'no' (from environment variable UVICORN_WS): must be one of auto,"),
        (
            {},
            {"pyproject.toml": "[tool.uvicorn]\nws_max_size = 0\n"},
            "option ws_max_size = 0 (from [tool.uvicorn] in ",
        ),
    ],
)
def test_a_mistake_stops_the_master_before_it_forks(
    serve: Serve, env: dict[str, str], files: dict[str, str], says: str
) -> None:
    server = serve("probe:app", worker=HTTPTOOLS, env=env, files=files)
    assert server.wait_exit() == 1
    (line,) = [line for line in server.log.splitlines() if line.startswith("Error: ")]
    assert says in line
    assert "Booting worker" not in server.log
    assert "Traceback" not in server.log


def test_what_gunicorn_has_a_word_for_is_said_once(serve: Serve) -> None:
    server = serve("probe:app", worker=HTTPTOOLS, workers=2, env={"UVICORN_TIMEOUT_KEEP_ALIVE": "9"})
    server.wait_started(2)
    assert server.log.count("is not used: set keepalive in Gunicorn instead") == 1


@pytest.mark.parametrize("option", ["--check-config", "--print-config"])
def test_gunicorns_own_checks_stay_useful(serve: Serve, option: str) -> None:
    server = serve("probe:app", option, files={"gunicorn.conf.py": CONF})
    assert server.wait_exit() == 0
    if option == "--print-config":
        shown = "UvicornWorker.configure(server_header=False).configure(headers=[('x-from', 'code')])"
        assert shown in server.out


def test_a_mistake_in_configure_is_seen_by_check_config(serve: Serve) -> None:
    conf = CONF.replace("server_header", "server_heather")
    server = serve("probe:app", "--check-config", files={"gunicorn.conf.py": conf})
    assert server.wait_exit() == 1
    says = "option server_heather = False (from UvicornWorker.configure): unknown; did you mean server_header"
    assert says in server.log


def test_a_slow_import_may_be_granted_more_than_the_timeout(serve: Serve) -> None:
    files = {"slow.py": "import time\ntime.sleep(2)\nfrom probe import app\n"}
    server = serve("slow:app", "--timeout", "1", worker=H11, files=files, env={"UVICORN_TIMEOUT_STARTUP": "9"})
    assert server.get().status_code == 200
    assert "WORKER TIMEOUT" not in server.log
    assert server.log.count("Booting worker") == 1
    with server.connect() as connection:
        connection.request("/block?s=60")
        server.wait_log("WORKER TIMEOUT")
