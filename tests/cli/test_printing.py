"""What the command prints: options with their sources, a unit of systemd, a server of nginx."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.cli.printing import nginx_file, options_table, systemd_unit
from uvicorn_worker.server import Config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def config(**options: Any) -> Config:
    return Config("main:app", **options)


def test_the_options_are_a_table_that_can_be_read_again() -> None:
    text = options_table(config(port=9000, headers=[("a", "b")]), {"port": "--port"})
    table: dict[str, Any] = tomllib.loads(text)
    assert (table["app"], table["port"]) == ("main:app", 9000)
    (line,) = [line for line in text.splitlines() if line.startswith("port = ")]
    assert line.endswith("# --port")
    assert all("#" in line for line in text.splitlines())
    # What is None is not said, but shown.
    assert "limit_concurrency" not in table
    assert "# uds = none" in text


def test_objects_are_shown() -> None:
    log_config = {"version": 1, "disable_existing_loggers": False}
    table = tomllib.loads(options_table(Config(app, log_config=log_config), {}))
    assert isinstance(table["app"], str)


class TestSystemd:
    def test_one_process(self) -> None:
        unit = systemd_unit(config(), ["main:app", "--header", "a:50% $x y"])
        assert "Type=exec" in unit
        assert f"ExecStart={sys.executable} -m uvicorn_worker main:app --header 'a:50%% $$x y'" in unit
        assert f"WorkingDirectory={os.getcwd()}" in unit
        assert "ExecReload" not in unit
        assert "TimeoutStopSec=35" in unit

    def test_several(self) -> None:
        unit = systemd_unit(config(workers=2, timeout_graceful_shutdown=60), ["main:app", "--workers", "2"])
        assert "Type=notify" in unit
        assert "ExecReload=/bin/kill -s HUP $MAINPID" in unit
        assert "TimeoutStopSec=65" in unit

    def test_systemd_takes_it(self, tmp_path: Path) -> None:
        program = shutil.which("systemd-analyze")
        if program is None:
            pytest.skip("systemd-analyze is not installed")
        path = tmp_path / "app.service"
        path.write_text(systemd_unit(config(workers=2), ["main:app"]))
        done = subprocess.run([program, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if "app.service" in line] == []


class TestNginx:
    @pytest.mark.parametrize(
        ("options", "address"),
        [
            ({"port": 8001}, "127.0.0.1:8001"),
            ({"host": "0.0.0.0"}, "127.0.0.1:8000"),
            ({"host": "10.0.0.1"}, "10.0.0.1:8000"),
            ({"host": "::1"}, "[::1]:8000"),
            ({"host": ["::", "0.0.0.0"]}, "127.0.0.1:8000"),
            ({"uds": "/run/app.sock"}, "unix:/run/app.sock"),
        ],
    )
    def test_where_it_finds_the_application(self, options: dict[str, Any], address: str) -> None:
        assert f"    server {address} fail_timeout=0;\n" in nginx_file(config(**options))

    def test_it_closes_kept_connections_first(self) -> None:
        assert "    keepalive_timeout 4s;\n" in nginx_file(config(timeout_keep_alive=5))

    def test_bodies(self) -> None:
        assert "client_max_body_size 1000;" in nginx_file(config(limit_request_body=1000))
        assert "client_max_body_size 10m;" in nginx_file(config())

    def test_nginx_takes_it(self, tmp_path: Path) -> None:
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if program is None:
            pytest.skip("nginx is not installed")
        text = nginx_file(config()).replace("listen 80;", f"listen unix:{tmp_path}/front.sock;")
        path = tmp_path / "nginx.conf"
        path.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}}}\n")
        done = subprocess.run(
            [program, "-t", "-p", str(tmp_path), "-c", str(path)], capture_output=True, text=True, check=False
        )
        assert "syntax is ok" in done.stderr, done.stderr
