"""`self.config` of a worker: what subclasses say of it, in the ways that they know from uvicorn's worker."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from gunicorn.glogging import Logger

from tests.http1.apps import hello
from tests.worker.cycles import settings
from uvicorn_worker.board import board as module
from uvicorn_worker.board.board import Board
from uvicorn_worker.core.config import Config as CoreConfig
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import Surroundings
from uvicorn_worker.worker.base import BaseWorker
from uvicorn_worker.worker.config import WorkerConfig, differences, loaded_by
from uvicorn_worker.worker.kept_listener import keep_listening
from uvicorn_worker.worker.worker import UvicornWorker


def uvicorns(**given: Any) -> Any:
    """A Config of the uvicorn package, as far as it is looked at."""

    class Config:
        def __init__(
            self, app: Any, ws_max_size: int = 16, root_path: str = "", forwarded_allow_ips: Any = None,
            reload_dirs: Any = None, limit_max_requests: Any = None, no_option: int = 0,
        ) -> None:  # fmt: skip
            self.app, self.ws_max_size, self.root_path = app, ws_max_size, root_path
            self.forwarded_allow_ips = forwarded_allow_ips or "127.0.0.1,::1"
            self.reload_dirs = reload_dirs or []
            self.limit_max_requests = limit_max_requests
            self.no_option = no_option

    Config.__module__ = "uvicorn.config"
    return Config(hello, **given)


class Wraps(Config):
    """Puts something around the application."""

    def load(self) -> None:
        super().load()
        around: Any = Around(self.loaded_app, self.root_path)
        self.loaded_app = around


class Around:
    def __init__(self, app: Any, root_path: str) -> None:
        self.app, self.root_path = app, root_path


class TestLoading:
    def test_of_a_configuration_with_one_of_its_own(self) -> None:
        own: Any = Wraps(None, factory=True, root_path="/a")
        made: Any = loaded_by(own, hello)
        assert (made.app.app, made.root_path) == (hello, "/a")
        # Each worker that is made of it loads anew.
        assert (own.app, own.factory, own.loaded) == (None, True, False)

    def test_which_ones_are_kept(self) -> None:
        config = WorkerConfig(Surroundings())
        for other, is_kept in (
            (Wraps(hello), True),
            (Config(hello), False),
            (CoreConfig(hello), False),
            (uvicorns(), False),
        ):
            config.own_replaced_by(other)
            assert config.own_replacement is (other if is_kept else None)


class TestDifferences:
    def test_of_ours(self) -> None:
        assert differences(Config(hello)) == {}
        assert differences(Config(hello, ws_max_size=5, root_path="/a")) == {"ws_max_size": 5, "root_path": "/a"}

    def test_of_uvicorns(self) -> None:
        """What its constructor puts there by itself is no wish, nor what has no meaning here."""
        assert differences(uvicorns(no_option=3, limit_max_requests=sys.maxsize)) == {}
        found = differences(uvicorns(ws_max_size=7, forwarded_allow_ips="*", limit_max_requests=9))
        assert found == {"ws_max_size": 7, "forwarded_allow_ips": "*", "limit_max_requests": 9}

    def test_of_something_else(self) -> None:
        with pytest.raises(ConfigError, match=r"self\.config = dict\(\.\.\.\): must be a Config"):
            differences({})


class TestEnvironment:
    def test_proxies_of_it_are_gunicorns_to_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")
        uvicorn = pytest.importorskip("uvicorn")
        for made in (Config(hello, root_path="/a"), uvicorn.Config(hello, root_path="/a", log_config=None)):
            assert differences(made) == {"root_path": "/a"}


class TestWorkerConfig:
    def test_a_context_that_is_assigned_turns_tls_on(self) -> None:
        config: Any = WorkerConfig(Surroundings())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # As with uvicorn, where one that is assigned before would be lost.
        config.load()
        assert not config.loaded
        config.ssl = context
        assert config.own_settled().ssl_context_factory(None, None) is context
        assert not hasattr(config, "ssl")
        config.ssl = None
        assert config.own_settled().ssl_context_factory is None

    def test_it_is_loaded_where_the_application_is_there(self) -> None:
        """As by a `_serve()` that assigns `ssl` behind it."""
        config: Any = WorkerConfig(Surroundings())
        config.app = hello
        config.load()
        assert config.loaded

    def test_a_protocol_class_that_is_assigned_is_that_of_the_option(self) -> None:
        config: Any = WorkerConfig(Surroundings())
        config.http_protocol_class = asyncio.Protocol
        assert config.own_settled().http is asyncio.Protocol

    def test_what_was_assigned_outlives_the_settings(self) -> None:
        config: Any = WorkerConfig(Surroundings())
        config.ws_max_size = 5
        config.own_base_on(Config(hello, ws_max_size=6, root_path="/new"))
        assert (config.ws_max_size, config.root_path) == (5, "/new")
        assert config.own_settled() is config

    def test_the_longest_head_that_was_assigned_outlives_the_settings(self) -> None:
        config: Any = WorkerConfig(Surroundings())
        config.h11_max_incomplete_event_size = 65536
        config.own_base_on(Config(hello))
        assert (config.limit_request_line, config.limit_request_field_size) == (65536, 65536)

    def test_the_first_mistake_is_kept_for_the_start(self) -> None:
        """In the master an exception would be the end of the service."""
        config: Any = WorkerConfig(Surroundings())
        config.ws_max_size = "large"
        config.root_path = 7
        with pytest.raises(ConfigError, match="option ws_max_size = 'large'"):
            config.own_settled()

    def test_what_uvicorns_has_for_itself_is_explained(self) -> None:
        config: Any = WorkerConfig(Surroundings())
        with pytest.raises(AttributeError, match="is made by the uvicorn package for its own Server"):
            _ = config.lifespan_class
        with pytest.raises(AttributeError, match=r"self\.config has no attribute 'no_such'"):
            _ = config.no_such


class Own(UvicornWorker):
    """Starts nothing."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"root_path": "/fixed"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker in the master, before the fork."""
    monkeypatch.setattr(module.Board, "_of_master", None)
    monkeypatch.setattr(BaseWorker, "_own_token", None)
    monkeypatch.setattr(BaseWorker, "_own_shares", None)
    cfg = settings(keepalive=9, timeout=31)
    worker = Own(1, os.getpid(), [], SimpleNamespace(wsgi=lambda: hello), 15, cfg, Logger(cfg))
    yield worker
    worker.tmp.close()


class TestOfAWorker:
    def test_it_is_made_of_the_settings(self, made: Any) -> None:
        assert (made.config.root_path, made.config.timeout_keep_alive) == ("/fixed", 9)
        assert made.config is made.config

    def test_one_that_takes_its_place_says_what_is_different(self, made: Any) -> None:
        kept = made.config
        made.config = made.config
        made.config = Config(hello, ws_max_size=5)
        made.config = uvicorns(root_path="/other")
        assert made.config is kept
        assert (kept.ws_max_size, kept.root_path, kept.timeout_keep_alive) == (5, "/other", 9)

    def test_what_is_copied_from_uvicorns_worker_is_no_wish(self, made: Any) -> None:
        """It says timeout_notify and callback_notify for itself."""
        made.config = Config(hello, timeout_notify=made.timeout, callback_notify=made.callback_notify)
        assert (made.config.timeout_notify, made.config.callback_notify) == (None, None)

    def test_one_that_can_not_be_used_ends_the_start_and_not_the_master(self, made: Any) -> None:
        made.config = {"ws_max_size": 5}
        with pytest.raises(ConfigError, match="must be a Config"):
            made.config.own_settled()

    def test_settings_that_can_not_be_used_at_a_reload(self, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert made.config.own_error is None
        monkeypatch.setattr(Own, "CONFIG_KWARGS", {"ws_max_size": "large"})
        made._own_read_settings()
        with pytest.raises(ConfigError, match="option ws_max_size = 'large'"):
            made.config.own_settled()
        # Nor are they an exception in the master, which makes the next one.
        cfg = settings()
        other = Own(2, os.getpid(), [], SimpleNamespace(wsgi=lambda: hello), 15, cfg, Logger(cfg))
        other.tmp.close()
        with pytest.raises(ConfigError, match="option ws_max_size = 'large'"):
            other.config.own_settled()

    def test_the_board_knows_how_many_there_should_be(self, made: Any) -> None:
        assert Board.of_master().wanted == made.cfg.workers
        assert [slot.age for slot in Board.of_master()] == [1]


class TestKeptListener:
    def test_the_master_listens_too_where_gunicorn_does_not(self) -> None:
        cfg = settings(reuse_port=True, bind=["127.0.0.1:0"])
        listeners: list[Any] = []
        keep_listening(listeners, cfg, Logger(cfg))
        try:
            (kept,) = listeners
            assert not kept.sock.get_inheritable()
            assert kept.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            # It has them already.
            keep_listening(listeners, cfg, None)
            assert listeners == [kept]
        finally:
            for each in listeners:
                each.close()

    @pytest.mark.parametrize("given", [{}, {"reuse_port": True, "bind": ["unix:some"]}])
    def test_otherwise_not(self, given: dict[str, Any]) -> None:
        listeners: list[Any] = []
        keep_listening(listeners, settings(**given), None)
        assert listeners == []
