"""Gunicorn's words for TLS that are more than a value."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Site
from tests.http1.apps import hello
from tests.worker.cycles import settings
from uvicorn_worker import UvicornWorker
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.tls.contexts import make_context
from uvicorn_worker.worker.settings import config_from_settings
from uvicorn_worker.worker.ssl_context import context_factory, oldest_version


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def files(site: Site) -> dict[str, str]:
    return {"certfile": str(site.cert), "keyfile": str(site.key)}


class TestOldestVersion:
    @pytest.mark.parametrize(
        "value",
        [ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_SERVER, 2, "2", "17", "TLS", "TLS_SERVER", "SSLv23", "PROTOCOL_TLS"],
    )
    def test_what_negotiates_is_left_to_us(self, value: Any) -> None:
        assert oldest_version(value) is None

    @pytest.mark.parametrize(
        ("value", "oldest"),
        [
            (ssl.PROTOCOL_TLSv1_2, "TLSv1.2"),
            ("5", "TLSv1.2"),
            ("TLSv1_2", "TLSv1.2"),
            ("PROTOCOL_TLSv1_2", "TLSv1.2"),
            (" TLSv1_3 ", "TLSv1.3"),
        ],
    )
    def test_a_version_is_the_oldest(self, value: Any, oldest: str) -> None:
        assert oldest_version(value) == oldest

    @pytest.mark.parametrize("value", ["SSLv3", "TLSv1", "TLSv1_1", 3, "4", "nonsense", None])
    def test_others_are_refused(self, value: Any) -> None:
        with pytest.raises(ConfigError, match=f"^Gunicorn setting ssl_version = {value!r}: must be one of"):
            oldest_version(value)


class TestHook:
    def test_there_is_none_by_default(self) -> None:
        assert context_factory(settings()) is None

    def test_it_gets_gunicorns_settings(self, site: Site) -> None:
        given: list[Any] = []

        def hook(conf: Any, default_ssl_context_factory: Any) -> ssl.SSLContext:
            given.append(conf)
            context: ssl.SSLContext = default_ssl_context_factory()
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            return context

        cfg = settings(**files(site), ssl_context=hook)
        config = config_from_settings(cfg, hello, sys.maxsize, {})
        assert make_context(config).minimum_version == ssl.TLSVersion.TLSv1_3
        assert given == [cfg]

    def test_it_is_not_called_before_the_fork(self, site: Site) -> None:
        def hook(conf: Any, default_ssl_context_factory: Any) -> ssl.SSLContext:
            raise AssertionError

        UvicornWorker.check_config(settings(**files(site), ssl_context=hook), None)

    @pytest.mark.parametrize("log", [True, False])
    def test_without_a_certificate_it_is_not_called_and_that_is_said(self, log: bool, tmp_path: Path) -> None:
        class Log:
            lines: list[str] = []  # noqa: RUF012 - of this test alone

            def log(self, level: int, line: str) -> None:
                self.lines.append(line)

        def hook(conf: Any, default_ssl_context_factory: Any) -> ssl.SSLContext:
            raise AssertionError

        cfg = settings(ssl_context=hook)
        assert config_from_settings(cfg, hello, sys.maxsize, {}).ssl_context_factory is None
        UvicornWorker.check_config(cfg, Log() if log else None)
        assert len(Log.lines) == log

    def test_an_option_turns_it_on_too(self, site: Site) -> None:
        def hook(conf: Any, default_ssl_context_factory: Any) -> ssl.SSLContext:
            context: ssl.SSLContext = default_ssl_context_factory()
            return context

        config = config_from_settings(settings(ssl_context=hook), hello, sys.maxsize, site.options)
        assert config.ssl_context_factory is not None
        make_context(config)


class TestCheckConfig:
    def test_good_files(self, site: Site) -> None:
        UvicornWorker.check_config(settings(**files(site), ca_certs=str(site.ca), cert_reqs=2), None)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"keyfile": "/nowhere"}, "option ssl_keyfile = '/nowhere': can't be read: No such file or directory"),
            ({"cert_reqs": 2}, "option ssl_cert_reqs = 2: needs ssl_ca_certs"),
            ({"ciphers": "NONSENSE"}, "option ssl_ciphers = 'NONSENSE': OpenSSL says"),
            ({"ssl_version": "TLSv1"}, "Gunicorn setting ssl_version = 'TLSv1': must be one of"),
            ({"certfile": None}, "option ssl_keyfile = "),
        ],
    )
    def test_a_mistake_is_one_line(self, site: Site, values: dict[str, Any], message: str) -> None:
        with pytest.raises(RuntimeError) as caught:
            UvicornWorker.check_config(settings(**{**files(site), **values}), None)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
