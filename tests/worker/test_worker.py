"""The worker classes, as far as they can be seen without a process of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tests.http1.apps import hello
from tests.worker.cycles import settings
from uvicorn_worker import UvicornH11Worker, UvicornWorker
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.worker.base import BaseWorker
from uvicorn_worker.worker.failure_token import FailureToken
from uvicorn_worker.worker.settings import config_from_settings


def config_of(kind: type[UvicornWorker]) -> Any:
    return config_from_settings(settings(), hello, sys.maxsize, kind._own_overrides(), defaults=kind._own_defaults)


class TestConfigKwargs:
    def test_the_default_worker_takes_what_is_installed(self) -> None:
        assert (config_of(UvicornWorker).loop, config_of(UvicornWorker).http) == ("auto", "auto")

    def test_the_h11_worker_takes_no_c_extension(self) -> None:
        assert (config_of(UvicornH11Worker).loop, config_of(UvicornH11Worker).http) == ("asyncio", "h11")

    def test_a_subclass_adds_to_those_of_its_bases(self) -> None:
        class Own(UvicornH11Worker):
            CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"root_path": "/own", "loop": "uvloop"}

        class Plain(Own):
            """Fixes nothing of its own."""

        for kind in (Own, Plain):
            config = config_of(kind)
            assert (config.loop, config.http, config.root_path) == ("uvloop", "h11", "/own")
        assert config_of(UvicornH11Worker).loop == "asyncio"

    def test_the_order_is_that_of_the_classes(self) -> None:
        class Mixin:
            CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"http": "auto", "root_path": "/mixin"}

        class Own(Mixin, UvicornH11Worker):
            """Takes the mixin's first."""

        config = config_of(Own)
        assert (config.loop, config.http, config.root_path) == ("asyncio", "auto", "/mixin")


class TestCheckConfig:
    def test_the_defaults_are_fine(self) -> None:
        for kind in (UvicornWorker, UvicornH11Worker):
            kind.check_config(settings(), None)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"no_such": 1}, "option no_such = 1 (from CONFIG_KWARGS of the worker class): unknown"),
            ({"http": "h3"}, "option http = 'h3' (from CONFIG_KWARGS of the worker class): must be one of"),
            ({"loop": "trio"}, "option loop = 'trio' (from CONFIG_KWARGS of the worker class): must be"),
        ],
    )
    def test_an_error_is_one_line(self, kwargs: dict[str, Any], message: str) -> None:
        kind: Any = type("Own", (UvicornWorker,), {"CONFIG_KWARGS": kwargs})
        with pytest.raises(RuntimeError) as caught:
            kind.check_config(settings(), None)
        assert type(caught.value) is RuntimeError
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_a_setting_that_is_not_supported(self) -> None:
        if "protocol" not in settings().settings:
            pytest.skip("this Gunicorn has no such setting")
        with pytest.raises(RuntimeError, match="Gunicorn setting protocol = 'uwsgi'"):
            UvicornWorker.check_config(settings(protocol="uwsgi"), None)

    def test_metrics_without_the_package_for_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kind = UvicornWorker.configure(metrics_bind="127.0.0.1:0")
        kind.check_config(settings(), None)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(RuntimeError, match="option metrics_bind needs the package prometheus-client"):
            kind.check_config(settings(), None)

    def test_a_loop_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kind: Any = type("Own", (UvicornWorker,), {"CONFIG_KWARGS": {"loop": "uvloop"}})
        monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
        with pytest.raises(RuntimeError, match="uvloop is not installed"):
            kind.check_config(settings(), None)

    @pytest.mark.parametrize("loop", ["no_such_module:loop", "asyncio:no_such_loop"])
    def test_a_loop_that_can_not_be_imported(self, loop: str) -> None:
        kind: Any = type("Own", (UvicornWorker,), {"CONFIG_KWARGS": {"loop": loop}})
        with pytest.raises(RuntimeError) as caught:
            kind.check_config(settings(), None)
        assert "\n" not in str(caught.value)


class TestConfigure:
    def test_it_gives_a_class_with_the_options_fixed(self) -> None:
        kind = UvicornWorker.configure(ws_ping_interval=10)
        assert issubclass(kind, UvicornWorker)
        assert config_of(kind).ws_ping_interval == 10

    def test_it_nests(self) -> None:
        kind = UvicornH11Worker.configure(ws_ping_interval=10, limit_concurrency=5).configure(limit_concurrency=6)
        config = config_of(kind)
        assert (config.http, config.ws_ping_interval, config.limit_concurrency) == ("h11", 10, 6)

    @pytest.mark.parametrize("options", [{"ws_ping": 10}, {"ws_ping_interval": -1}, {"keepalive": 5}])
    def test_a_mistake_is_seen_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=r"\(from UvicornWorker\.configure\): "):
            UvicornWorker.configure(**options)

    def test_its_name_shows_the_options_but_no_secret(self) -> None:
        kind = UvicornWorker.configure(ws="none", ssl_keyfile_password="hidden")
        assert kind.__name__ == "UvicornWorker"
        assert kind.__qualname__ == "UvicornWorker.configure(ssl_keyfile_password=..., ws='none')"


class TestSetup:
    """Called by Gunicorn before it loads anything; tests/e2e/test_interfaces.py sees it happen."""

    @pytest.fixture(autouse=True)
    def first_time(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(BaseWorker, "_own_was_set_up", False)
        monkeypatch.delenv("SETUP_ONE", raising=False)
        yield
        UvicornWorker.setup()
        assert "SETUP_ONE" not in os.environ

    def test_an_environment_file(self, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_text("SETUP_ONE=1")
        UvicornWorker.configure(env_file=str(file)).setup()
        assert os.environ["SETUP_ONE"] == "1"

    def test_it_is_named_in_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "env"
        file.write_text("SETUP_ONE=1")
        monkeypatch.setenv("UVICORN_ENV_FILE", str(file))
        UvicornWorker.setup()
        assert os.environ["SETUP_ONE"] == "1"
        monkeypatch.delenv("UVICORN_ENV_FILE")

    def test_proxies_that_it_names_are_believed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Gunicorn has asked the environment when it was imported."""
        monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
        file = tmp_path / "env"
        file.write_text("FORWARDED_ALLOW_IPS=192.0.2.1, 192.0.2.2")
        kind = UvicornWorker.configure(env_file=str(file))
        kind.setup()
        assert kind.own_config_for(settings()).forwarded_allow_ips == ["192.0.2.1", "192.0.2.2", "unix"]
        by_hand = settings(forwarded_allow_ips="192.0.2.3")
        assert kind.own_config_for(by_hand).forwarded_allow_ips == ["192.0.2.3", "unix"]

    def test_one_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        kind = UvicornWorker.configure(env_file=str(tmp_path / "none"))
        kind.setup()
        said: list[str] = []
        kind.check_config(settings(), SimpleNamespace(log=lambda level, line: said.append(line)))
        assert said == [f"option env_file = {str(tmp_path / 'none')!r}: there is no such file"]

    def test_an_error_is_one_line_and_for_the_workers_to_report_later(self, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_bytes(b"\xff")
        kind = UvicornWorker.configure(env_file=str(file))
        with pytest.raises(RuntimeError, match=r"option env_file = .*: can't be read: it is not UTF-8"):
            kind.setup()
        UvicornWorker.setup()
        kind.setup()


class TestFailureToken:
    def test_it_can_be_taken_once(self) -> None:
        token = FailureToken()
        assert token.take()
        assert not token.take()
        assert not token.take()

    def test_each_has_its_own(self) -> None:
        first, second = FailureToken(), FailureToken()
        assert first.take()
        assert second.take()

    def test_it_knows_who_made_it(self) -> None:
        assert FailureToken().owner == os.getpid()

    def test_the_report_waits_until_the_master_has_done_forking(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now, forks_left = [100.0], 3
        token = FailureToken()

        def sleep(seconds: float) -> None:
            nonlocal forks_left
            now[0] += seconds
            if forks_left:
                forks_left -= 1
                token.worker_made()

        monkeypatch.setattr(
            "uvicorn_worker.worker.failure_token.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
        )
        token.worker_made()
        token.wait_for_forks()
        assert forks_left == 0
        assert 100.3 <= now[0] < 101

    def test_the_report_does_not_wait_forever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        token = FailureToken()

        def sleep(seconds: float) -> None:
            now[0] += seconds
            token.worker_made()

        monkeypatch.setattr(
            "uvicorn_worker.worker.failure_token.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
        )
        token.worker_made()
        token.wait_for_forks()
        assert now[0] < 103
