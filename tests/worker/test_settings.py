"""Gunicorn's settings, and the options that they become."""

from __future__ import annotations

import dataclasses
import logging
import ssl
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gunicorn
import pytest
from gunicorn.config import AccessLogFormat

from tests.http1.apps import hello
from tests.worker.cycles import settings
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server.readiness import differing
from uvicorn_worker.worker.settings import (
    HONOURED,
    MASTERS,
    NOT_OURS,
    REFUSED,
    ROWS,
    config_from_settings,
    refuse_unsupported,
    usual_values,
)

# A value of each setting that is not its default, and what it becomes.
VALUES: dict[str, list[tuple[Any, Any]]] = {
    "backlog": [(64, 64)],
    "sendfile": [(False, False), (True, True), (None, True)],
    "keepalive": [(75, 75), (0, 0)],
    "worker_connections": [(10, 10), (1001, 1001), (1000, None)],
    "graceful_timeout": [(7, 7)],
    "threads": [(4, 4), (1, None)],
    "limit_request_line": [(0, 0), (8190, 8190)],
    "limit_request_fields": [(50, 50), (0, 32768)],
    "limit_request_field_size": [(0, 0), (1000, 1000)],
    "root_path": [("/mounted", "/mounted"), ("", "")],
    "asgi_loop": [("asyncio", "asyncio"), ("auto", "auto")],
    "asgi_lifespan": [("off", "off"), ("on", "on")],
    "http_protocols": [("h2,h1", "on"), ("h2", "on"), ("h1", "off")],
    "http2_cleartext": [("both", "both"), ("upgrade", "upgrade"), ("off", "off")],
    "http2_max_concurrent_streams": [(7, 7)],
    "http2_initial_window_size": [(1000000, 1000000)],
    "http2_max_frame_size": [(65536, 65536)],
    "http2_max_header_list_size": [(9999, 9999), (0, 2**24)],
    "websocket_max_message_size": [(1000, 1000), (16777216, 16777216)],
    "loglevel": [("WARNING", "warning"), ("trace", "trace"), ("no such level", "info")],
    "access_log_format": [("%(h)s", "%(h)s"), (AccessLogFormat.default, None), ("%r %s %Tf", None)],
    "certfile": [("cert.pem", "cert.pem")],
    "keyfile": [("key.pem", "key.pem")],
    "ca_certs": [("ca.pem", "ca.pem")],
    "cert_reqs": [(2, 2), (ssl.CERT_OPTIONAL, 1)],
    "ciphers": [("HIGH", "HIGH")],
    "ssl_version": [("TLS", None), ("TLSv1_3", "TLSv1.3")],
    "forwarded_allow_ips": [("10.0.0.0/8, 192.0.2.1", ["10.0.0.0/8", "192.0.2.1", "unix"]), ("*", ["*", "unix"])],
    "secure_scheme_headers": [({"X-TLS": "1"}, {"X-TLS": "1"}), ({}, {})],
    "forwarder_headers": [("REMOTE_USER", ["REMOTE_USER"]), ("", [])],
    "header_map": [("refuse", "refuse"), ("dangerous", "dangerous")],
    "proxy_protocol": [(True, "auto"), (False, "off")],
    "proxy_allow_ips": [("10.0.0.0/8", ["10.0.0.0/8", "unix"])],
    "asgi_disconnect_grace_period": [(3, None), (0, 0), (30, 30)],
    "permit_unconventional_http_method": [(True, True)],
    "casefold_http_method": [(True, True)],
    "permit_unconventional_http_version": [(True, True)],
    "permit_obsolete_folding": [(True, True)],
    "strip_header_spaces": [(True, True)],
}
OPTIONS = {item.name for item in dataclasses.fields(Config)}


def config(overrides: dict[str, Any] | None = None, max_requests: int = sys.maxsize, **values: Any) -> Config:
    return config_from_settings(settings(**values), hello, max_requests, overrides or {})


def test_the_longest_head_of_uvicorns_option_counts_where_gunicorns_limit_is_its_default() -> None:
    long = {"h11_max_incomplete_event_size": 65536}
    made = config(long)
    assert (made.limit_request_line, made.limit_request_field_size) == (65536, 65536)
    made = config(long, limit_request_line=5000, limit_request_field_size=16380)
    assert (made.limit_request_line, made.limit_request_field_size) == (5000, 16380)


def test_gunicorns_defaults_are_not_told_as_something_else() -> None:
    plain, other = config(), config(backlog=64, keepalive=75)
    assert list(differing(plain, usual_values(plain))) == []
    assert sorted(differing(other, usual_values(other))) == ["backlog = 64", "timeout_keep_alive = 75"]


def test_the_table_knows_every_row() -> None:
    assert sorted(row.setting for row in ROWS) == sorted(VALUES)


def test_every_setting_of_the_installed_gunicorn_has_one_row() -> None:
    named = [row.setting for row in ROWS] + [*HONOURED, *MASTERS, *NOT_OURS] + [refused[0] for refused in REFUSED]
    assert len(named) == len(set(named))
    assert set(settings().settings) - set(named) == set()


def test_every_row_leads_to_an_option() -> None:
    assert {row.option for row in ROWS} <= OPTIONS
    assert len({row.option for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.setting)
class TestRows:
    def test_a_value_is_taken(self, row: Any) -> None:
        if row.setting not in settings().settings:
            pytest.skip("this Gunicorn has no such setting")
        for value, expected in VALUES[row.setting]:
            if row.setting.endswith("allow_ips") and "/" in value and gunicorn.version_info < (24,):
                pytest.skip("this Gunicorn takes addresses, and no networks")
            assert getattr(config(**{row.setting: value}), row.option) == expected

    def test_gunicorns_default_is_taken(self, row: Any) -> None:
        defaults = settings()
        expected = getattr(Config(app=hello), row.option)
        if row.setting in defaults.settings and not row.by_hand:
            expected = row.convert(getattr(defaults, row.setting))
        assert getattr(config(), row.option) == expected


class TestByHand:
    """asgi_disconnect_grace_period = 3, its default, counts where it was set."""

    @pytest.fixture(autouse=True)
    def _known(self) -> None:
        if "asgi_disconnect_grace_period" not in settings().settings:
            pytest.skip("this Gunicorn has no such setting")

    def test_in_the_configuration_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert config().timeout_disconnect is None
        monkeypatch.setitem(sys.modules, "__config__", ModuleType("__config__"))
        assert config().timeout_disconnect is None
        monkeypatch.setattr(sys.modules["__config__"], "asgi_disconnect_grace_period", 3, raising=False)
        assert config(asgi_disconnect_grace_period=3).timeout_disconnect == 3

    @pytest.mark.parametrize("words", [["--asgi-disconnect-grace-period", "3"], ["--asgi-disconnect-grace-period=3"]])
    def test_on_the_command_line(self, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["gunicorn", *words, "app"])
        assert config(asgi_disconnect_grace_period=3).timeout_disconnect == 3

    def test_in_the_environment_of_gunicorn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "--asgi-disconnect-grace-period 3")
        assert config(asgi_disconnect_grace_period=3).timeout_disconnect == 3

    def test_else_the_environment_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_TIMEOUT_DISCONNECT", "2.5")
        assert config().timeout_disconnect == 2.5
        assert config(asgi_disconnect_grace_period=7).timeout_disconnect == 7


def test_an_option_without_a_word_in_gunicorn_keeps_its_default() -> None:
    made, default = config(), Config(app=hello)
    for name in OPTIONS - {row.option for row in ROWS} - {"app"}:
        assert getattr(made, name) == getattr(default, name), name


def test_max_requests_is_what_gunicorn_drew() -> None:
    assert config(max_requests=1000).limit_max_requests == 1000
    assert config(max_requests=sys.maxsize).limit_max_requests is None


class TestOverrides:
    def test_they_win(self) -> None:
        made = config({"timeout_keep_alive": 9, "http": "h11"}, keepalive=75)
        assert (made.timeout_keep_alive, made.http) == (9, "h11")

    def test_the_rest_is_gunicorns(self) -> None:
        assert config({"http": "h11"}, keepalive=75).timeout_keep_alive == 75

    @pytest.mark.parametrize("overrides", [{"keepalive": 5}, {"backlog": 0}, {"nonsense": 1}])
    def test_the_error_says_where_they_are(self, overrides: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="from CONFIG_KWARGS of the worker class"):
            config(overrides)


def test_the_error_says_that_it_is_a_setting() -> None:
    cfg = settings()
    cfg.settings["backlog"].value = 0
    with pytest.raises(ConfigError, match=r"option backlog = 0 \(from Gunicorn's settings\): must be "):
        config_from_settings(cfg, hello, sys.maxsize, {})


class TestOuterOptions:
    def test_the_environment_wins_over_pyproject(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool.uvicorn]\nws_max_queue = 5\nws_ping_interval = 6\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("UVICORN_WS_MAX_QUEUE", "7")
        made = config()
        assert (made.ws_max_queue, made.ws_ping_interval) == (7, 6)

    def test_code_wins_over_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_WS_MAX_QUEUE", "7")
        assert config({"ws_max_queue": 8}).ws_max_queue == 8

    @pytest.mark.parametrize(
        ("variable", "text", "word"),
        [
            ("UVICORN_TIMEOUT_KEEP_ALIVE", "9", "keepalive"),
            ("UVICORN_LIMIT_MAX_REQUESTS", "9", "max_requests"),
            ("UVICORN_APP", "module:app", "wsgi_app"),
            ("UVICORN_ACCESS_LOG", "yes", "accesslog"),
        ],
    )
    def test_gunicorns_word_rules_and_that_is_said(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, word: str
    ) -> None:
        monkeypatch.setenv(variable, text)
        said: list[tuple[int, str]] = []
        made = config_from_settings(settings(), hello, sys.maxsize, {}, lambda *remark: said.append(remark))
        assert made == config()
        name = variable.removeprefix("UVICORN_").lower()
        line = f"option {name} (from environment variable {variable}) is not used: set {word} in Gunicorn instead"
        assert said == [(logging.INFO, line)]

    def test_what_gunicorn_lacks_may_be_said_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_ROOT_PATH", "/mounted")
        cfg = settings()
        cfg.settings.pop("root_path", None)
        assert config_from_settings(cfg, hello, sys.maxsize, {}).root_path == "/mounted"

    def test_a_mistake_names_its_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UVICORN_WS", "perhaps")
        with pytest.raises(
            ConfigError, match=r"option ws = 'perhaps' \(from environment variable UVICORN_WS\): must be"
        ):
            config()


class TestUnsupported:
    @pytest.mark.parametrize(("setting", "value"), [("protocol", "uwsgi")])
    def test_it_stops_the_start(self, setting: str, value: Any) -> None:
        if setting not in settings().settings:
            pytest.skip("this Gunicorn has no such setting")
        cfg = settings(**{setting: value})
        with pytest.raises(ConfigError, match=f"Gunicorn setting {setting} = ") as caught:
            refuse_unsupported(cfg)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError):
            config_from_settings(cfg, hello, sys.maxsize, {})

    def test_the_defaults_are_fine(self) -> None:
        refuse_unsupported(settings())

    def test_a_setting_that_gunicorn_lacks_is_fine(self) -> None:
        cfg = settings()
        for setting in ("proxy_protocol", "protocol", "root_path", "asgi_loop", "asgi_lifespan"):
            cfg.settings.pop(setting, None)
        assert config_from_settings(cfg, hello, sys.maxsize, {}) == dataclasses.replace(
            config(), **{name: getattr(Config(app=hello), name) for name in ("root_path", "loop", "lifespan")}
        )
