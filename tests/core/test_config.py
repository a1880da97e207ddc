"""`Config`: defaults, what each option may be, and the errors that name it."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import math
import ssl
from typing import Any

import pytest

from uvicorn_worker.core.config import OPTIONS, RULES, Config
from uvicorn_worker.core.errors import ConfigError, UvicornWorkerError


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application to name."""


FIELDS = [item.name for item in dataclasses.fields(Config)]

# For each option, values that it takes and values that it refuses.
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "app": ([app, "module:app", len], ["", 5, b"module:app", []]),
    "factory": ([True, False], [2, 1.0, "perhaps"]),
    "interface": (["auto", "asgi3", "asgi2", "wsgi"], ["asgi", "", 3]),
    "threads": ([None, 1, 40], [0, -1, 1.0, "five", True]),
    "env_file": ([None, ".env"], [5, True, b".env"]),
    "lifespan_contextvars": ([True, False], [2, 1.0, "perhaps"]),
    "asgi_spec_version": (["2.0", "2.3", "2.5"], ["2.6", "3.0", "", 2.3]),
    "reset_contextvars": ([True, False], [2, 1.0, "perhaps"]),
    "permit_unconventional_http_method": ([True, False], [2, 1.0, "perhaps"]),
    "casefold_http_method": ([True, False], [2, 1.0, "perhaps"]),
    "permit_unconventional_http_version": ([True, False], [2, 1.0, "perhaps"]),
    "strip_header_spaces": ([True, False], [2, 1.0, "perhaps"]),
    "permit_obsolete_folding": ([True, False], [2, 1.0, "perhaps"]),
    "header_map": (["drop", "refuse", "dangerous"], ["", "keep", True]),
    "proxy_headers": ([True, False], [2, 1.0, "perhaps"]),
    "forwarded_headers": (["for,proto", "", ["for", "host"], "forwarded, port,prefix"], ["by", ["x"], 5]),
    "forwarded_allow_ips": (
        ["*", "", "unix", "10.0.0.0/8, ::1", ["127.0.0.1", "fd00::/8"], "10.1.2.3/8", "localhost", "10.0.0.0/33"],
        [[5], 5, True],
    ),
    "secure_scheme_headers": ([{}, {"X-FORWARDED-PROTO": "https"}], [[], {"X": 1}, {1: "x"}, "x"]),
    "forwarder_headers": (["", "SCRIPT_NAME", ["REMOTE_USER"]], [5, [5]]),
    "proxy_protocol": (["off", "v1", "v2", "auto"], [True, False, "on", 1]),
    "proxy_allow_ips": (["*", "10.0.0.0/8", ["unix"], "proxy"], [5, [5]]),
    "ssl_keyfile": ([None, "key.pem"], [5, True, b"key.pem"]),
    "ssl_certfile": ([None, "cert.pem"], [5, True, b"cert.pem"]),
    "ssl_keyfile_password": ([None, "secret"], [5, True]),
    "ssl_version": ([None, "TLSv1.3", "TLSv1.2", ssl.TLSVersion.TLSv1_3], ["SSLv3", "TLSv1", 3, 1.0, True]),
    "ssl_cert_reqs": ([0, 1, 2, ssl.CERT_REQUIRED], [3, -1, "3", True]),
    "ssl_ca_certs": ([None, "ca.pem"], [5, True]),
    "ssl_ciphers": ([None, "ECDHE+AESGCM"], [5, True]),
    "ssl_context_factory": ([None, len], ["module:factory", 5]),
    "limit_connections": ([None, 1, 1000], [0, -1, 1.0, "five", True]),
    "limit_max_memory": ([None, 1, 512], [0, -1, 1.0, "five", True]),
    "limit_request_body": ([None, 0, 1, 10**9], [-1, 1.0, "five", True]),
    "h11_max_incomplete_event_size": ([None, 1, 65536], [0, -1, 1.0, "five", True]),
    "timeout_request_body": ([None, 0.5, 75], [0, -1, "five", True]),
    "timeout_write": ([None, 0.5, 75], [0, -1, "five", True]),
    "timeout_request": ([None, 0.5, 75], [0, -1, "five", True]),
    "timeout_disconnect": ([None, 0, 0.5, 75], [-1, "five", True]),
    "timeout_drain_delay": ([0, 0.5, 30], [-1, "five", True]),
    "timeout_notify": ([None, 0.5, 30], [0, -1, "five", True]),
    "timeout_startup": ([None, 0.5, 300], [0, -1, "five", True, math.nan, math.inf]),
    "metrics_bind": (
        [None, "127.0.0.1:9100", ":9100", "[::1]:0", "unix:/run/x.sock"],
        ["9100", "unix:", "x:y", "a:99999", 9100, True],
    ),
    "request_id_header": ([None, "X-Request-ID"], ["", "x y", 5, True]),
    "paths": (
        [{}, {"/a": {}}, {"/a": {"access_log": False, "timeout_request": None, "limit_request_body": 5}}],
        [[], "x", {"a": {}}, {"/a": 5}, {"/a": {"backlog": 5}}, {5: {}}],
    ),
    "log_slow_requests": ([None, 0.5, 75], [0, -1, "five", True]),
    "log_loop_lag": ([None, 0.5, 75], [0, -1, "five", True]),
    "log_level": (["info", "trace"], ["verbose", "", 1.5, True, object()]),
    "log_config": ([None, {"version": 1}, "log.yaml"], ["", 5, True, [1], io.StringIO("no ini file")]),
    "use_colors": ([None, True, False], [2, "perhaps"]),
    "callback_notify": ([None, len], ["module:function", 5]),
    "access_log_format": (
        [None, "%(h)s", "%(D)d 100%%", "%(own)d %(own)s %({x}i)s"],
        [5, True, "%r %s %Tf", "%s", "%(h)d", "%({x}i)d", "100%"],
    ),
    "loop": (["auto", "uvloop", "asyncio", "module:factory"], ["trio", "", 1, object()]),
    "http": (["auto", "httptools", "h11"], ["nghttp2", "", 11, Config]),
    "http2": (["off", "on"], ["", 2, "h2c"]),
    "http2_cleartext": (["off", "prior-knowledge", "upgrade", "both"], ["on", "", True]),
    "http2_engine": (["auto", "native", "h2"], ["nghttp2", ""]),
    "http2_max_concurrent_streams": ([1, 100], [0, -1, 1.0, "five", True]),
    "http2_initial_window_size": ([1, 65535, 2**31 - 1], [0, 2**31, 1.0, "five", True]),
    "http2_max_frame_size": ([16384, 2**24 - 1], [16383, 2**24, 16384.0, "five", True]),
    "http2_max_header_list_size": ([1024, 65536], [1023, 2**24 + 1, 65536.0, "five", True]),
    "http2_early_hints": (["on", "off"], ["yes", "", 1]),
    "http2_ping_interval": ([None, 0, 0.5, 20], [-1, "five", True]),
    "http2_ping_timeout": ([0, 0.5, 20], [-1, "five", True]),
    "ws": (["auto", "websockets", "none"], ["wsgi", "", True, Config]),
    "ws_max_size": ([1, 16777216], [0, -1, 1.0, "five", True]),
    "ws_max_queue": ([1, 32], [0, -1, 1.0, "five", True]),
    "ws_ping_interval": ([None, 0, 0.5, 20], [-1, "five", True]),
    "ws_ping_timeout": ([None, 0, 0.5, 20], [-1, "five", True]),
    "ws_per_message_deflate": ([True, False], [2, 1.0, "perhaps"]),
    "ws_close_timeout": ([0, 0.5, 10], [-1, "five", True]),
    "lifespan": (["auto", "on", "off"], ["yes", "", True]),
    "timeout_lifespan_startup": ([None, 0, 1, 2.5], [-1, "five", True, -0.1]),
    "timeout_lifespan_shutdown": ([None, 0, 1, 2.5], [-1, "five", True]),
    "root_path": (["", "/mounted"], [b"/x", 5]),
    "server_header": ([True, False], [2, 1.0, "perhaps"]),
    "early_hints": ([True, False], [2, 1.0, "perhaps"]),
    "pathsend": (["auto", "on", "off"], [2, 1.0, "perhaps"]),
    "sendfile": ([True, False], [2, 1.0, "perhaps"]),
    "date_header": ([True, False], [2, 1.0, "perhaps"]),
    "headers": (
        [[], (), [("a", "b")], ((b"a", b"b"),), [["a", b"b"]]],
        ["a", {"a": "b"}, [("a",)], [("a", "b", "c")], [("a", 1)], ["ab"], [None], 5],
    ),
    "access_log": ([True, False], [2, 1.0, "-"]),
    "backlog": ([1, 2048], [0, -1, 1.5, "five", True]),
    "limit_request_line": ([0, 1, 4094, 100_000], [-1, 1.0, "five", False]),
    "limit_request_fields": ([1, 100, 32768], [0, -1, 1.0, "five", True]),
    "limit_request_field_size": ([0, 1, 8190], [-1, 1.0, "five", True]),
    "limit_concurrency": ([None, 1, 1000], [0, -1, 1.0, "five", True]),
    "limit_max_requests": ([None, 1, 1000], [0, -1, 1.0, "five", True]),
    "limit_max_requests_jitter": ([0, 5], [-1, 1.0, "five", True]),
    "worker_lifetime": ([None, 0.5, 86400], [0, -1, "five", True]),
    "worker_lifetime_jitter": ([0, 0.5, 3600], [-1, "five", True]),
    "block_repeat_offenders": ([None, 0.5, 600], [0, -1, "no"]),
    "reload_surge": ([None, 1, 4], [0, -1, 1.0, "five", True]),
    "timeout_keep_alive": ([0, 0.5, 75], [-1, "five", True]),
    "timeout_request_head": ([0, 0.5, 75], [-1, "five", True]),
    "timeout_graceful_shutdown": ([None, 0, 0.5, 30], [-1, "five", True]),
    "timeout_drain_idle": ([None, 0, 0.5, 30], [-1, "five", True]),
    "timeout_drain_spread": ([None, 0, 0.5, 30], [-1, "five", True]),
}
TAKEN = [(name, value) for name, (good, _) in VALUES.items() for value in good]
REFUSED = [(name, value) for name, (_, bad) in VALUES.items() for value in bad]


@pytest.mark.parametrize(
    ("options", "line", "field"),
    [
        ({"h11_max_incomplete_event_size": 65536}, 65536, 65536),
        ({"h11_max_incomplete_event_size": 1024}, 8190, 8190),
        ({"h11_max_incomplete_event_size": 65536, "limit_request_line": 0}, 0, 65536),
        ({"h11_max_incomplete_event_size": 65536, "limit_request_field_size": 16380}, 65536, 16380),
        ({"h11_max_incomplete_event_size": None}, 8190, 8190),
    ],
)
def test_the_longest_head_that_is_asked_for_lets_longer_lines_through(
    options: dict[str, Any], line: int, field: int
) -> None:
    config = Config(app=app, **options)
    assert (config.limit_request_line, config.limit_request_field_size) == (line, field)


def test_the_table_knows_every_option() -> None:
    assert sorted(VALUES) == sorted(FIELDS)


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_it_takes(name: str, value: Any) -> None:
    assert getattr(Config(**{"app": app, name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_it_refuses(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{"app": app, name: value})
    message = str(caught.value)
    assert message.startswith(f"option {name} = {OPTIONS.shown(name, value)}: must be ")
    assert "\n" not in message


def test_the_defaults_are_taken_and_gunicorns_where_it_has_a_word() -> None:
    config = Config(app=app)
    assert (config.limit_request_line, config.limit_request_fields, config.limit_request_field_size) == (
        8190,
        100,
        8190,
    )
    assert config.backlog == 2048
    assert (config.loop, config.http, config.lifespan) == ("auto", "auto", "auto")


def test_a_default_is_what_it_is_taken_for() -> None:
    # A record that was just made is not asked for its defaults.
    for item in dataclasses.fields(Config):
        if item.default not in (dataclasses.MISSING, ""):
            assert OPTIONS.take(item, item.default) == item.default, item.name


def test_an_app_is_required() -> None:
    with pytest.raises(ConfigError, match="option app"):
        Config()


def test_the_error_is_a_value_error_and_one_of_ours() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, UvicornWorkerError)


def test_it_is_frozen() -> None:
    config = Config(app=app)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.backlog = 5  # type: ignore[misc]


def test_no_default_is_shared() -> None:
    assert Config(app=app).headers is not Config(app=app).headers


def test_each_option_has_its_meaning() -> None:
    for item in dataclasses.fields(Config):
        assert item.metadata["meaning"].endswith("."), item.name
        assert item.metadata["rule"].allowed, item.name
        assert isinstance(item.metadata["unit"], str), item.name
        assert item.metadata["section"], item.name


def from_options(options: dict[str, Any], source: str) -> Config:
    return Config(**OPTIONS.check_all(options, source))


class TestFromOptions:
    def test_it_makes_a_config(self) -> None:
        config = from_options({"app": app, "backlog": 5}, "a test")
        assert (config.app, config.backlog) == (app, 5)

    def test_an_unknown_option_is_refused_in_one_line_that_points_to_the_docs(self) -> None:
        with pytest.raises(ConfigError) as caught:
            from_options({"app": app, "qqqqq": 5}, "a test")
        assert str(caught.value) == "option qqqqq = 5 (from a test): unknown; see docs/settings.md"
        with pytest.raises(ConfigError) as caught:
            from_options({"q" * 500: "x" * 500}, "[tool.uvicorn] in pyproject.toml")
        assert len(str(caught.value)) <= 200
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "near"),
        [("wss", "ws"), ("ws_ping", "ws_ping_interval"), ("server_heather", "server_header"), ("reloads", "")],
    )
    def test_only_what_is_near_is_a_hint(self, name: str, near: str) -> None:
        with pytest.raises(ConfigError) as caught:
            from_options({name: 5}, "a test")
        assert str(caught.value).endswith(f"did you mean {near}?" if near else "see docs/settings.md")

    def test_a_misspelt_option_is_guessed(self) -> None:
        with pytest.raises(ConfigError, match=r"option backlogs = 5 \(from a test\): unknown; did you mean backlog\?"):
            from_options({"app": app, "backlogs": 5}, "a test")

    def test_the_source_of_a_bad_value_is_named(self) -> None:
        with pytest.raises(ConfigError) as caught:
            from_options({"app": app, "backlog": 0}, "a test")
        assert str(caught.value) == "option backlog = 0 (from a test): must be a whole number, 1 or more"


def test_no_secret_is_shown() -> None:
    assert "hidden" not in repr(Config(app=app, ssl_keyfile_password="hidden"))


class TestTogether:
    def test_a_delay_that_takes_all_of_the_time_is_refused(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Config(app=app, timeout_drain_delay=30, timeout_graceful_shutdown=30)
        assert str(caught.value) == "option timeout_drain_delay = 30: must be less than timeout_graceful_shutdown = 30"

    @pytest.mark.parametrize(("delay", "graceful"), [(0, 0), (10, None), (10, 30)])
    def test_a_delay_that_leaves_some_is_fine(self, delay: float, graceful: float | None) -> None:
        Config(app=app, timeout_drain_delay=delay, timeout_graceful_shutdown=graceful)


class TestNone:
    def test_it_is_the_default_where_it_is_no_value(self) -> None:
        names = [name for name in FIELDS if name != "app"]
        nothing: dict[str, Any] = dict.fromkeys(names)
        made = Config(app, **nothing)
        for name in names:
            expected = None if RULES[name].check(None) else getattr(Config(app), name)
            assert getattr(made, name) == expected, name

    def test_it_is_given_only_where_it_turns_something_off(self) -> None:
        off = {"ws_ping_interval", "ws_ping_timeout", "timeout_request_body", "timeout_write"}
        assert {name for name in FIELDS if OPTIONS.is_given(name, None)} == off
        assert from_options({"app": app, "backlog": None, "ws_ping_timeout": None}, "x").ws_ping_timeout is None


class TestProtocols:
    @pytest.mark.parametrize("name", ["http", "ws"])
    @pytest.mark.parametrize("value", [asyncio.Protocol, "package.module:Protocol"])
    def test_a_protocol_class_is_taken_as_it_is(self, name: str, value: Any) -> None:
        assert getattr(Config(app, **{name: value}), name) == value

    @pytest.mark.parametrize("name", ["http", "ws"])
    def test_another_class_is_none(self, name: str) -> None:
        with pytest.raises(ConfigError, match="or a protocol class of your own"):
            from_options({name: Config}, "x")

    def test_h2_is_http_2_beside_http_1(self) -> None:
        assert (Config(app, http="h2").http, Config(app, http="h2").http2) == ("auto", "on")


def test_no_secret_is_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(app, ssl_keyfile_password=12345)  # type: ignore[arg-type]
    assert "12345" not in str(caught.value)


def test_a_context_is_of_one_kind() -> None:
    with pytest.raises(ConfigError, match="lifespan_contextvars and reset_contextvars"):
        Config(app=app, lifespan_contextvars=True, reset_contextvars=True)
