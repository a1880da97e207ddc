"""A logger_class that fills in what Gunicorn needs of a logging configuration."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.instrument.statsd import Statsd

from tests.worker.cycles import settings
from uvicorn_worker.logs.formatters import LOGGING_CONFIG
from uvicorn_worker.worker.logger import Logger


@pytest.fixture(params=["dict", "json", "yaml"])
def values(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings with uvicorn's own configuration."""
    if request.param == "dict":
        return {"logconfig_dict": LOGGING_CONFIG}
    if request.param == "yaml":
        pytest.importorskip("yaml")
    # JSON is YAML.
    path = tmp_path / f"log.{request.param}"
    path.write_text(json.dumps(LOGGING_CONFIG))
    return {"logconfig_json": str(path)}


def test_uvicorns_own_configuration(values: dict[str, Any]) -> None:
    cfg = settings(errorlog="-", **values)
    log = Logger(cfg)
    assert log.cfg is cfg
    assert [type(handler).__name__ for handler in logging.getLogger("uvicorn.access").handlers] == ["StreamHandler"]
    assert logging.getLogger("gunicorn.error").handlers


def test_gunicorns_own_logger_cant() -> None:
    with pytest.raises(RuntimeError, match="Unable to configure root logger"):
        GunicornLogger(settings(errorlog="-", logconfig_dict=LOGGING_CONFIG))


def test_without_a_configuration_it_is_gunicorns() -> None:
    assert Logger(settings(errorlog="-")).error_log.handlers


def test_with_statsd() -> None:
    log = Logger(settings(errorlog="-", statsd_host="127.0.0.1:8125", logconfig_dict=LOGGING_CONFIG))
    assert isinstance(log, Statsd)
    log.sock.close()


def test_a_file_that_cant_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text("{")
    with pytest.raises(RuntimeError, match="logging configuration = "):
        Logger(settings(errorlog="-", logconfig_json=str(tmp_path / "log.json")))
