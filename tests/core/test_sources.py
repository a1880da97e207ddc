"""Options from the environment and from pyproject.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.sources import Found, Given, from_environment, from_outside, from_pyproject

TOML = "[tool.uvicorn] in pyproject.toml"
# What Kubernetes makes for a service called uvicorn with a port called http, and for one called uvicorn-app.
KUBERNETES = {
    "UVICORN_SERVICE_HOST": "10.0.0.1",
    "UVICORN_SERVICE_PORT": "8000",
    "UVICORN_SERVICE_PORT_HTTP": "8000",
    "UVICORN_PORT": "tcp://10.0.0.1:8000",
    "UVICORN_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "UVICORN_PORT_8000_TCP_PROTO": "tcp",
    "UVICORN_PORT_8000_TCP_PORT": "8000",
    "UVICORN_PORT_8000_TCP_ADDR": "10.0.0.1",
    "UVICORN_APP_SERVICE_HOST": "10.0.0.2",
    "UVICORN_APP_PORT": "udp://10.0.0.2:53",
    "UVICORN_APP_PORT_53_UDP_ADDR": "10.0.0.2",
}


class TestEnvironment:
    def test_names_and_values_are_read(self) -> None:
        environ = {"UVICORN_WS_PING_INTERVAL": "10", "PATH": "/bin", "UVICORN_FACTORY": "yes", "UVICORN": "x"}
        assert from_environment(environ) == Found(
            {
                "ws_ping_interval": Given(10, "environment variable UVICORN_WS_PING_INTERVAL"),
                "factory": Given(True, "environment variable UVICORN_FACTORY"),
            }
        )

    def test_it_is_the_process_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_WS", "none")
        assert from_environment().options["ws"].value == "none"

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("ws_max_queue", "0", "must be a whole number, 1 or more"),
            ("timeout_write", "5 sec", "must be None or a number of seconds above 0, or a duration such as 1h30m"),
        ],
    )
    def test_a_bad_value_is_one_line(self, name: str, text: str, says: str) -> None:
        variable = f"UVICORN_{name.upper()}"
        with pytest.raises(ConfigError) as caught:
            from_environment({variable: text})
        assert str(caught.value) == f"option {name} = {text!r} (from environment variable {variable}): {says}"

    @pytest.mark.parametrize("text", ["", " "])
    def test_what_is_empty_is_unset(self, text: str) -> None:
        assert from_environment({"UVICORN_WS": text, "UVICORN_HOST": text, "UVICORN_XYZ": text}) == Found()

    @pytest.mark.parametrize(
        "name", ["HOST", "PORT", "UDS", "FD", "WORKERS", "WORKER_CLASS", "RELOAD", "RELOAD_DIR", "APP_DIR", "VERSION"]
    )
    def test_what_belongs_to_the_master_is_told_apart(self, name: str) -> None:
        found = from_environment({f"UVICORN_{name}": "1"})
        assert [given.value for given in found.masters.values()] == ["1"]
        assert not found.options
        assert not found.unknown

    def test_what_kubernetes_makes_is_told_apart(self) -> None:
        assert from_environment(KUBERNETES) == Found(kubernetes=list(KUBERNETES))

    def test_a_port_is_one_of_the_command_where_it_is_a_number(self) -> None:
        assert list(from_environment({"UVICORN_PORT": "8000"}).masters) == ["port"]

    def test_what_nobody_knows_is_told_apart(self) -> None:
        found = from_environment({"UVICORN_WSS": "1", "UVICORN_RELOADS": "1"})
        assert found == Found(unknown=[("wss", "UVICORN_WSS"), ("reloads", "UVICORN_RELOADS")])


class TestPyproject:
    def read(self, folder: Path, text: str) -> Found:
        (folder / "pyproject.toml").write_text(text)
        return from_pyproject(folder)

    def test_no_file(self, tmp_path: Path) -> None:
        assert from_pyproject(tmp_path) == Found()

    @pytest.mark.parametrize(
        "text", ["", "[tool.ruff]\nline-length = 100\n", "[tool]\n", "[tool.uvicorn]\n", "tool = 1\n"]
    )
    def test_no_table(self, tmp_path: Path, text: str) -> None:
        assert self.read(tmp_path, text) == Found()

    def test_names_and_values_are_read(self, tmp_path: Path) -> None:
        text = """
            [tool.uvicorn]
            ws-ping-interval = 2.5
            ws_ping_timeout = "none"
            headers = [["x-one", "1"]]
            secure_scheme_headers = { X-FORWARDED-PROTO = "https" }
            timeout-request = "1h30m"
            """
        assert self.read(tmp_path, text) == Found(
            {
                "ws_ping_interval": Given(2.5, TOML),
                "ws_ping_timeout": Given(None, TOML),
                "headers": Given([["x-one", "1"]], TOML),
                "secure_scheme_headers": Given({"X-FORWARDED-PROTO": "https"}, TOML),
                "timeout_request": Given(5400, TOML),
            }
        )

    def test_the_table_that_uvicorns_handbooks_print(self, tmp_path: Path) -> None:
        text = """
            [tool.uvicorn]
            app = "main:create_app"
            factory = true
            host = "0.0.0.0"
            port = 8000
            workers = 4
            reload = true
            log_level = "INFO"
            access_log = 1
            """
        found = self.read(tmp_path, text)
        assert {name: given.value for name, given in found.options.items()} == {
            "app": "main:create_app",
            "factory": True,
            "log_level": "info",
            "access_log": True,
        }
        assert {name: given.value for name, given in found.masters.items()} == {
            "host": "0.0.0.0",
            "port": 8000,
            "workers": 4,
            "reload": True,
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "[tool.uvicorn]\nws_max_queue = 0",
                f"option ws_max_queue = 0 (from {TOML}): must be a whole number, 1 or more",
            ),
            (
                "[tool.uvicorn]\nws_max_queue = true",
                f"option ws_max_queue = True (from {TOML}): must be a whole number",
            ),
        ],
    )
    def test_a_bad_value_is_one_line(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, text)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

    def test_what_nobody_knows_is_told_apart(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, "[tool.uvicorn]\nws-max = 1\n")
        assert found.unknown == [("ws_max", "ws-max in [tool.uvicorn]")]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[tool]\nuvicorn = 5", "[tool.uvicorn] in pyproject.toml = 5 gives no options: it must be a table"),
            ("[tool.uvicorn", "pyproject.toml can't be read, and gives no options: "),
        ],
    )
    def test_a_file_for_other_tools_stops_nobody(self, tmp_path: Path, text: str, problem: str) -> None:
        (line,) = self.read(tmp_path, text).problems
        assert line.startswith(problem)
        assert "\n" not in line

    def test_nor_does_one_that_can_not_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").mkdir()
        (line,) = from_pyproject(tmp_path).problems
        assert line.startswith("pyproject.toml can't be read")


def test_the_environment_wins_over_pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[tool.uvicorn]\nws = 'none'\nlifespan = 'off'\nhost = 'a'\nnonsense = 1\n"
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for name, value in {"WS": "auto", "HOST": "b", "NONSENSE": "2", "SERVICE_HOST": "c"}.items():
        monkeypatch.setenv(f"UVICORN_{name}", value)
    found = from_outside()
    assert {name: given.value for name, given in found.options.items()} == {"ws": "auto", "lifespan": "off"}
    assert found.masters["host"].value == "b"
    assert [written for _, written in found.unknown] == ["nonsense in [tool.uvicorn]", "UVICORN_NONSENSE"]
    assert found.kubernetes == ["UVICORN_SERVICE_HOST"]


def test_the_value_may_be_anything_that_the_rule_takes() -> None:
    value: Any = from_environment({"UVICORN_HEADERS": "x-one: 1;;x-two: 2"}).options["headers"].value
    assert value == [("x-one", "1"), ("x-two", "2")]
