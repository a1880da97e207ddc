"""What is said of options from which nothing follows."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.worker.cycles import settings
from uvicorn_worker.worker.settings import config_from_settings

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING


def said(overrides: dict[str, Any] | None = None, **values: Any) -> list[tuple[int, str]]:
    remarks: list[tuple[int, str]] = []
    config_from_settings(settings(**values), hello, sys.maxsize, overrides or {}, lambda *pair: remarks.append(pair))
    return remarks


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_form_of_access_lines_that_is_none() -> None:
    ((level, line),) = said(access_log_format="%r %s %Tf")
    assert level == WARNING
    assert line.startswith("Gunicorn setting access_log_format = '%r %s %Tf': no line can be made of it")
    assert said(access_log_format="%(h)s %(D)d 100%%") == []


class TestMasters:
    @pytest.mark.parametrize(
        ("variable", "text", "values", "level", "rules"),
        [
            ("HOST", "0.0.0.0", {"bind": "0.0.0.0:8000"}, DEBUG, "bind = ['0.0.0.0:8000']"),
            ("HOST", "0.0.0.0", {"bind": "127.0.0.1:8000"}, INFO, "bind = ['127.0.0.1:8000']"),
            ("PORT", "8000", {"bind": "127.0.0.1:8000"}, DEBUG, "bind = ['127.0.0.1:8000']"),
            ("PORT", "80", {"bind": "127.0.0.1:8000"}, INFO, "bind = ['127.0.0.1:8000']"),
            ("UDS", "/run/app", {"bind": "unix:/run/app"}, DEBUG, "bind = ['unix:/run/app']"),
            ("FD", "3", {"bind": "fd://3"}, DEBUG, "bind = ['fd://3']"),
            ("FD", "3", {"bind": "fd://4"}, INFO, "bind = ['fd://4']"),
            ("WORKERS", "4", {"workers": 4}, DEBUG, "workers = 4"),
            ("WORKERS", "4", {"workers": 2}, INFO, "workers = 2"),
            ("RELOAD", "true", {"reload": False}, INFO, "reload = False"),
            ("RELOAD", "0", {"reload": False}, DEBUG, "reload = False"),
            ("RELOAD", "perhaps", {"reload": False}, INFO, "reload = False"),
            ("RELOAD_DELAY", "1.5", {}, DEBUG, "reload_engine = 'auto'"),
            ("APP_DIR", "src", {}, INFO, "pythonpath = None"),
            ("WORKER_CLASS", "gevent", {"worker_class": "sync"}, INFO, "worker_class = 'sync'"),
        ],
    )
    def test_a_value_that_differs_is_said_louder(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, values: Any, level: int, rules: str
    ) -> None:
        monkeypatch.setenv(f"UVICORN_{variable}", text)
        name, source = variable.lower(), f"environment variable UVICORN_{variable}"
        line = f"option {name} = {text!r} (from {source}) has no effect: Gunicorn's {rules} rules"
        assert said(**values) == [(level, line)]

    def test_the_version_of_an_image_rules_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_VERSION", "0.54.0")
        assert said() == [
            (DEBUG, "option version = '0.54.0' (from environment variable UVICORN_VERSION) has no effect")
        ]


class TestOutside:
    def test_unknown_names_are_one_warning(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool.uvicorn]\nnonsense = 1\n")
        monkeypatch.setenv("UVICORN_WSS", "1")
        names = "nonsense in [tool.uvicorn], UVICORN_WSS (did you mean ws?)"
        assert said() == [(WARNING, f"unknown options, ignored: {names}; see docs/settings.md")]

    def test_many_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(13):
            monkeypatch.setenv(f"UVICORN_NONSENSE_{number}", "1")
        ((level, line),) = said()
        assert level == WARNING
        assert ", and 3 more; see docs/settings.md" in line

    def test_kubernetes_is_told_at_debug_level(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_SERVICE_HOST", "10.0.0.1")
        assert said() == [(DEBUG, "no options, but made by Kubernetes for a service: UVICORN_SERVICE_HOST")]

    def test_a_file_that_can_not_be_read_is_a_warning(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool.uvicorn")
        ((level, line),) = said()
        assert level == WARNING
        assert line.startswith("pyproject.toml can't be read")

    @pytest.mark.parametrize(
        ("variable", "text", "level", "says"),
        [
            ("WS", "wsproto", DEBUG, "ws = 'auto' serves in its place"),
            ("INTERFACE", "asgi3", None, ""),
        ],
    )
    def test_a_value_that_counts(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, level: int | None, says: str
    ) -> None:
        monkeypatch.setenv(f"UVICORN_{variable}", text)
        found = said()
        assert [each for each, _ in found] == ([] if level is None else [level])
        assert all(line.endswith(says) for _, line in found)

    @pytest.mark.parametrize(
        ("variable", "text", "values"),
        [
            ("LOG_LEVEL", "INFO", {}),
            ("TIMEOUT_KEEP_ALIVE", "2", {"keepalive": 2}),
            ("ACCESS_LOG", "true", {"accesslog": "-"}),
            ("APP", "module:app", {"wsgi_app": "module:app"}),
            ("LIMIT_MAX_REQUESTS", "10", {"max_requests": 10}),
            ("LIMIT_MAX_REQUESTS_JITTER", "10", {"max_requests_jitter": 10}),
            ("FORWARDED_ALLOW_IPS", "10.0.0.1, 10.0.0.2", {"forwarded_allow_ips": "10.0.0.2,10.0.0.1"}),
        ],
    )
    def test_what_gunicorn_does_anyway_is_told_at_debug_level(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, values: dict[str, Any]
    ) -> None:
        monkeypatch.setenv(f"UVICORN_{variable}", text)
        ((level, line),) = said(**values)
        assert level == DEBUG
        assert "is not used: set " in line


class TestCode:
    def test_none_says_nothing(self) -> None:
        assert said({"host": None, "app": None, "workers": None, "log_level": None}) == []

    def test_what_has_no_effect(self) -> None:
        source = "CONFIG_KWARGS of the worker class"
        overrides = {"app": "x:y", "workers": 3, "use_colors": True}
        assert said(overrides) == [
            (INFO, f"option app (from {source}) has no effect: name the application to gunicorn instead"),
            (INFO, f"option workers = 3 (from {source}) has no effect: Gunicorn's workers = 1 rules"),
            (INFO, "option use_colors has no effect without log_config: a formatter of Gunicorn's says it"),
        ]

    @pytest.mark.parametrize(
        ("name", "value"), [("ws", "wsproto"), ("ws", "websockets-sansio"), ("http", "zttp"), ("loop", "zuvloop")]
    )
    def test_what_serves_in_place_of_another(self, name: str, value: str) -> None:
        ((level, line),) = said({name: value})
        assert level == DEBUG
        assert line.endswith(f"{name} = 'auto' serves in its place")

    def test_a_host_name_matches_nobody(self) -> None:
        line = "option forwarded_allow_ips: 'localhost' is no address and no network, and matches nobody"
        assert said({"forwarded_allow_ips": "127.0.0.1, localhost"}) == [(WARNING, line)]

    def test_a_heartbeat_that_would_come_too_late(self) -> None:
        ((level, line),) = said({"timeout_notify": 30}, timeout=30)
        assert level == INFO
        assert line.endswith("more than half of Gunicorn's timeout = 30, so there is a heartbeat every 7.5 seconds")
