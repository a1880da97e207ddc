"""`Config` by uvicorn's signature: what is given, in which order, where it listens, what it can be asked."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import hello
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server.config import Config
from uvicorn_worker.server.server import Server


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Does nothing."""


class TestGiven:
    def test_nothing_is_the_defaults(self) -> None:
        config = Config()
        assert config.app is None
        assert (config.host, config.port, config.uds, config.fd) == ("127.0.0.1", 8000, None, None)
        assert (config.reload, config.workers, config.loaded, config.own_log_config_left) == (False, 1, False, True)

    def test_proxies_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As Gunicorn and uvicorn have it, where the option says nothing."""
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.0/24")
        assert Config(app).forwarded_allow_ips == "192.0.2.0/24,unix"
        assert Config(app, forwarded_allow_ips=None).forwarded_allow_ips == "192.0.2.0/24,unix"
        assert Config(app, forwarded_allow_ips="::1").forwarded_allow_ips == "::1"
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
        assert Config(app).forwarded_allow_ips == "unix"

    def test_the_longest_head_that_is_assigned_lets_longer_lines_through(self) -> None:
        """As vLLM does for its clients' long fields."""
        config: Any = Config(app)
        config.h11_max_incomplete_event_size = 4194304
        config.h11_max_header_count = 256
        assert (config.limit_request_line, config.limit_request_field_size) == (4194304, 4194304)

    def test_by_position_in_uvicorns_order(self) -> None:
        config = Config(app, "::1", 1, "a.sock", 3, "asyncio", "h11", None)
        assert (config.host, config.port, config.uds, config.fd) == ("::1", 1, "a.sock", 3)
        assert (config.loop, config.http) == ("asyncio", "h11")

    def test_one_too_many(self) -> None:
        with pytest.raises(TypeError, match="at most 53 positional arguments"):
            Config(app, *[None] * 53)

    def test_one_twice(self) -> None:
        with pytest.raises(TypeError, match="two values for host"):
            Config(app, "::1", host="::1")

    def test_words_of_the_command_line(self) -> None:
        assert Config(app, limit_max_requests=5).limit_max_requests == 5
        assert Config(app, http="h2").http2 == "on"
        assert Config(app, http="h2").http == "auto"

    def test_none_is_not_given_and_no_host_is_every_address(self) -> None:
        config = Config(app, host=None, port=None, workers=None, log_level=None, log_config=None)
        assert (config.host, config.port, config.workers, config.own_log_config_left) == (None, 8000, 1, False)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"prot": 1}, r"option prot = 1 \(from Config\): unknown; did you mean port"),
            ({"port": 70000}, "option port = 70000: must be a whole number from 0 to 65535"),
            ({"workers": -1}, "option workers = -1: must be"),
            ({"reload_delay": "soon"}, "option reload_delay = 'soon': must be"),
            ({"lifespan": "maybe"}, "option lifespan = 'maybe'"),
        ],
    )
    def test_a_mistake(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            Config(app, **options)

    def test_what_is_for_those_who_start_others(self) -> None:
        config = Config(app, reload_dirs=["src"], reload_delay="0.5", app_dir="src")
        assert (config.reload_dirs, config.reload_delay, config.app_dir) == ([Path("src").absolute()], 0.5, "src")
        assert config.reload_includes == config.reload_excludes == []

    def test_what_is_watched_are_lists(self) -> None:
        """Programs append to them, and ask whether a file is in one of the folders."""
        config = Config("main:app", reload=True, reload_includes="*.html", reload_excludes=[Path("data")])
        config.reload_excludes.append(".venv")
        assert (config.reload_includes, config.reload_excludes) == (["*.html"], ["data", ".venv"])
        assert config.reload_dirs == [Path.cwd()]
        assert Config(app, reload=True).reload_dirs == []


class TestAssigned:
    def test_it_is_checked(self) -> None:
        config: Any = Config(app)
        config.lifespan = "off"
        config.port = 1
        config.http = "h2"
        config.host = None
        assert (config.lifespan, config.port, config.http, config.http2, config.host) == ("off", 1, "auto", "on", None)
        with pytest.raises(ConfigError, match=r"option lifespan = 'maybe' \(from an assignment to a Config\)"):
            config.lifespan = "maybe"
        with pytest.raises(ConfigError, match="option port = -1"):
            config.port = -1

    def test_two_are_equal_that_say_the_same(self) -> None:
        assert Config(app, port=1) == Config(app, port=1)
        assert Config(app, port=1) != Config(app, port=2)
        assert Config(app, ws="none") != Config(app)
        assert Config(app) != "Config"
        with pytest.raises(TypeError, match="unhashable"):
            hash(Config(app))


class TestAsked:
    def test_of_tls(self) -> None:
        assert not Config(app).is_ssl
        assert Config(app, ssl_certfile="c").is_ssl

    def test_of_the_version(self) -> None:
        assert (Config(app).asgi_version, Config(app, interface="asgi2").asgi_version) == ("3.0", "2.0")

    def test_of_other_processes(self) -> None:
        assert (Config(app, reload=True).should_reload, Config(app, reload=True).use_subprocess) == (False, True)
        assert Config("a:b", reload=True).should_reload
        assert Config(app, workers=2).use_subprocess
        assert not Config(app).use_subprocess

    def test_of_the_application(self) -> None:
        config = Config("tests.http1.apps:hello")
        assert not config.loaded
        config.load()
        assert config.loaded
        loaded: Any = config.loaded_app
        assert loaded.app is config.load_app() is hello
        bare = Config(hello, proxy_headers=False)
        bare.load()
        assert bare.loaded_app is hello

    def test_of_the_loop(self) -> None:
        loop = Config(app, loop="asyncio").get_loop_factory()()
        assert isinstance(loop, asyncio.AbstractEventLoop)
        loop.close()

    def test_of_logging(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each logger, a level that was named in words, as uvicorn's sets it at once."""
        log = logging.getLogger("uvicorn.error")
        before = log.level
        try:
            Config(app, log_config=None, log_level="error").configure_logging()
            assert log.level == logging.ERROR
        finally:
            log.setLevel(before)

    @pytest.mark.parametrize(
        ("options", "serves"),
        [({}, True), ({"ws": "wsproto"}, True), ({"ws": "none"}, False), ({"interface": "wsgi"}, False)],
    )
    def test_whether_websockets_are_served(self, options: dict[str, Any], serves: bool) -> None:
        """As programs look that would otherwise come up without."""
        config = Config("main:app", log_config=None, **options)
        assert isinstance(config.ws_protocol_class, type) == serves


class TestSocket:
    def test_of_a_host(self) -> None:
        with Config(app, port=0).bind_socket() as sock:
            assert sock.getsockname()[0] == "127.0.0.1"
            assert sock.get_inheritable()

    def test_the_log_says_where_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """As with uvicorn: those in other processes don't say it again, nor at a reload."""
        caplog.set_level(logging.INFO)
        made = Config(app, port=0, lifespan="off", log_config=None)
        sock = made.bind_socket()
        where = f"Uvicorn running on http://127.0.0.1:{sock.getsockname()[1]} (Press CTRL+C to quit)"
        assert caplog.messages == [where]
        for config in (made, pickle.loads(pickle.dumps(made))):  # noqa: S301
            server = Server(config)

            async def main(server: Server = server) -> None:
                await server.startup(sockets=[sock])
                await server.shutdown()

            asyncio.run(main())
        sock.close()
        assert caplog.messages == [where, "Shutting down", "Shutting down"]

    def test_of_several_addresses_it_is_the_first(self) -> None:
        with Config(app, host=None, port=0).bind_socket() as sock:
            assert sock.family in (socket.AF_INET, socket.AF_INET6)

    def test_of_a_path(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        with Config(app, uds=path).bind_socket() as sock:
            assert sock.getsockname() == path
