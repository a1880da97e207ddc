"""Options from the environment and from pyproject.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.sources import Given, from_environment, from_pyproject

TOML = "[tool.uvicorn] in pyproject.toml"


class TestEnvironment:
    def test_names_and_values_are_read(self) -> None:
        environ = {"UVICORN_WS_PING_INTERVAL": "10", "PATH": "/bin", "UVICORN_FACTORY": "yes", "UVICORN": "x"}
        assert from_environment(environ) == {
            "ws_ping_interval": Given(10, "environment variable UVICORN_WS_PING_INTERVAL"),
            "factory": Given(True, "environment variable UVICORN_FACTORY"),
        }

    def test_it_is_the_process_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_WS", "none")
        assert from_environment()["ws"].value == "none"

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("ws_max_queue", "0", "must be a whole number, 1 or more"),
            ("timeout_write", "5s", "must be None or a number of seconds above 0"),
            ("ws_ping", "5", "unknown; did you mean ws_ping_timeout or ws_ping_interval?"),
        ],
    )
    def test_a_mistake_is_one_line(self, name: str, text: str, says: str) -> None:
        variable = f"UVICORN_{name.upper()}"
        with pytest.raises(ConfigError) as caught:
            from_environment({variable: text})
        assert str(caught.value) == f"option {name} = {text!r} (from environment variable {variable}): {says}"

    @pytest.mark.parametrize("name", ["HOST", "PORT", "UDS", "FD", "WORKERS", "RELOAD", "APP_DIR", "LOG_CONFIG"])
    def test_what_belongs_to_a_command_of_its_own_is_unknown(self, name: str) -> None:
        with pytest.raises(ConfigError, match="unknown"):
            from_environment({f"UVICORN_{name}": "1"})


class TestPyproject:
    def read(self, folder: Path, text: str) -> dict[str, Given]:
        (folder / "pyproject.toml").write_text(text)
        return from_pyproject(folder)

    def test_no_file(self, tmp_path: Path) -> None:
        assert from_pyproject(tmp_path) == {}

    @pytest.mark.parametrize(
        "text", ["", "[tool.ruff]\nline-length = 100\n", "[tool]\n", "[tool.uvicorn]\n", "tool = 1\n"]
    )
    def test_no_table(self, tmp_path: Path, text: str) -> None:
        assert self.read(tmp_path, text) == {}

    def test_names_and_values_are_read(self, tmp_path: Path) -> None:
        text = """
            [tool.uvicorn]
            ws-ping-interval = 2.5
            ws_ping_timeout = "none"
            headers = [["x-one", "1"]]
            secure_scheme_headers = { X-FORWARDED-PROTO = "https" }
            """
        assert self.read(tmp_path, text) == {
            "ws_ping_interval": Given(2.5, TOML),
            "ws_ping_timeout": Given(None, TOML),
            "headers": Given([["x-one", "1"]], TOML),
            "secure_scheme_headers": Given({"X-FORWARDED-PROTO": "https"}, TOML),
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
            ("[tool.uvicorn]\nws-max = 1", f"option ws_max = 1 (from {TOML}): unknown; did you mean ws_max_"),
            ("[tool]\nuvicorn = 5", "[tool.uvicorn] in pyproject.toml = 5: must be a table of options"),
            ("[tool.uvicorn", "pyproject.toml can't be read: "),
        ],
    )
    def test_a_mistake_is_one_line(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, text)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

    def test_a_file_that_can_not_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").mkdir()
        with pytest.raises(ConfigError, match=r"pyproject\.toml can't be read: "):
            from_pyproject(tmp_path)


def test_the_value_may_be_anything_that_the_rule_takes() -> None:
    value: Any = from_environment({"UVICORN_HEADERS": "x-one: 1;;x-two: 2"})["headers"].value
    assert value == [("x-one", "1"), ("x-two", "2")]
