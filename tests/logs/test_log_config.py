"""The option log_config: dictionaries and files, with uvicorn's formatters in them."""

from __future__ import annotations

import configparser
import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.logs import formatters
from uvicorn_worker.logs.log_config import apply_log_config, named_loggers, read_log_config

UVICORNS = json.loads(
    json.dumps(formatters.LOGGING_CONFIG).replace("uvicorn_worker.logs.formatters", "uvicorn.logging")
)
YAML = """
version: 1
disable_existing_loggers: false
formatters:
  access:
    "()": uvicorn.logging.AccessFormatter
    fmt: 'yaml %(client_addr)s'
handlers:
  access: {class: logging.StreamHandler, formatter: access, stream: ext://sys.stdout}
loggers:
  uvicorn.access: {handlers: [access], level: INFO, propagate: false}
"""
INI = """
[loggers]
keys = root, access
[handlers]
keys = access
[formatters]
keys = access
[formatter_access]
class = uvicorn.logging.AccessFormatter
format = ini %(client_addr)s
[handler_access]
class = StreamHandler
formatter = access
args = (sys.stdout,)
[logger_root]
handlers =
[logger_access]
qualname = uvicorn.access
propagate = 0
handlers = access
"""


@pytest.fixture
def _without_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "uvicorn" else find(name, *more)
    )
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setitem(sys.modules, "uvicorn.logging", None)


def formatter_of(name: str) -> Any:
    (handler,) = logging.getLogger(name).handlers
    return handler.formatter


@pytest.mark.usefixtures("_without_uvicorn")
class TestWithoutUvicorn:
    def test_a_dictionary(self) -> None:
        apply_log_config(UVICORNS)
        assert type(formatter_of("uvicorn.access")) is formatters.AccessFormatter
        assert type(formatter_of("uvicorn")) is formatters.DefaultFormatter
        assert UVICORNS["formatters"]["access"]["()"] == "uvicorn.logging.AccessFormatter"

    def test_json(self, tmp_path: Path) -> None:
        (tmp_path / "log.json").write_text(json.dumps(UVICORNS))
        apply_log_config(tmp_path / "log.json")
        assert type(formatter_of("uvicorn.access")) is formatters.AccessFormatter

    @pytest.mark.parametrize("name", ["log.yaml", "log.yml"])
    def test_yaml(self, name: str, tmp_path: Path) -> None:
        pytest.importorskip("yaml")
        (tmp_path / name).write_text(YAML)
        apply_log_config(str(tmp_path / name))
        assert type(formatter_of("uvicorn.access")) is formatters.AccessFormatter

    def test_ini(self, tmp_path: Path) -> None:
        (tmp_path / "log.ini").write_text(INI)
        apply_log_config(str(tmp_path / "log.ini"))
        assert type(formatter_of("uvicorn.access")) is formatters.AccessFormatter

    def test_a_parser(self) -> None:
        parser = configparser.RawConfigParser()
        parser.read_string(INI)
        apply_log_config(parser)
        assert type(formatter_of("uvicorn.access")) is formatters.AccessFormatter


def test_with_uvicorn_its_own_are_taken() -> None:
    theirs = pytest.importorskip("uvicorn.logging")
    apply_log_config(UVICORNS)
    assert type(formatter_of("uvicorn.access")) is theirs.AccessFormatter


def test_none_leaves_everything_as_it_is() -> None:
    before = logging.getLogger("uvicorn.access").handlers[:]
    apply_log_config(None)
    assert logging.getLogger("uvicorn.access").handlers == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.json", None, "No such file"),
        ("bad.json", "{", "line 1 column 2 (char 1)"),
        ("list.json", "[]", "a logging configuration is a table, not list"),
        ("bad.yaml", "a: [", "while parsing"),
        ("bad.ini", "x", "no section headers"),
        ("empty.ini", "", "empty"),
        ("class.json", '{"version": 1, "handlers": {"x": {"class": "no.Such"}}}', "Unable to configure handler 'x'"),
    ],
)
def test_what_cant_be_used_is_one_error(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if name.endswith(".yaml"):
        pytest.importorskip("yaml")
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="option log_config") as caught:
        apply_log_config(str(tmp_path / name))
    assert message in str(caught.value)


def test_yaml_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "log.yaml").write_text(YAML)
    with pytest.raises(ConfigError, match="pip install pyyaml"):
        read_log_config(str(tmp_path / "log.yaml"))


def test_the_loggers_that_are_named() -> None:
    assert named_loggers(UVICORNS) == {"uvicorn": False, "uvicorn.error": False, "uvicorn.access": False}
    assert named_loggers({"version": 1, "loggers": {"x": None, "y": {"propagate": True}}}) == {"x": False, "y": True}


@pytest.mark.parametrize("colours", [True, False])
def test_colours_may_be_asked_for(colours: bool) -> None:
    apply_log_config(formatters.LOGGING_CONFIG, colours)
    assert formatter_of("uvicorn.access").use_colors is formatter_of("uvicorn").use_colors is colours


def test_a_file_that_is_open(tmp_path: Path) -> None:
    (tmp_path / "log.ini").write_text(INI.replace("uvicorn.logging.AccessFormatter", "logging.Formatter"))
    with (tmp_path / "log.ini").open() as file:
        config = Config("main:app", log_config=file)
    for _ in range(2):
        apply_log_config(config.log_config)
    assert type(formatter_of("uvicorn.access")) is logging.Formatter
