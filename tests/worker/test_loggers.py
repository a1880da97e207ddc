"""uvicorn's logger names under Gunicorn, with every way in which a logging configuration may name them."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.glogging import Logger

from tests.http1.apps import hello
from tests.worker.cycles import Records, records_of, settings
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.worker.loggers import (
    adopt_loggers,
    configured_loggers,
    follows_gunicorn,
    handlers_of,
    set_up_logging,
)

NAMES = ("gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
ROOT = {"level": "INFO", "handlers": ["root"]}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # As in a process of its own: nothing was adopted yet.
    monkeypatch.setattr("uvicorn_worker.worker.loggers._followers", {})
    monkeypatch.setattr("uvicorn_worker.worker.loggers._levels", {})
    monkeypatch.setattr("uvicorn_worker.worker.loggers._shared", [])
    with records_of(*NAMES, "root") as handler:
        for name in [*NAMES, "root"]:
            logger = logging.getLogger(name)
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
            logger.disabled = False
        yield


@pytest.fixture
def kept() -> dict[str, Records]:
    """Handlers that a configuration can name."""
    return {"root": Records(), "own": Records(), "gunicorn": Records()}


class Log:
    """As much of Gunicorn's logger as matters here, with one handler for both of its loggers."""

    def __init__(self, handler: logging.Handler, level: int = logging.INFO) -> None:
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        for logger in (self.error_log, self.access_log):
            logger.propagate = False
            logger.setLevel(level)
            logger.addHandler(handler)


@pytest.fixture
def log(kept: dict[str, Records]) -> Log:
    return Log(kept["gunicorn"])


@pytest.fixture
def configure(kept: dict[str, Records]) -> Callable[..., Any]:
    """Carry out a logging configuration as Gunicorn does; the settings that have it."""

    def configure(loggers: dict[str, Any], root: dict[str, Any] = ROOT, **more: Any) -> Any:
        handlers = {name: {"()": lambda handler=handler: handler} for name, handler in kept.items()}
        config = {"version": 1, "handlers": handlers, "loggers": loggers, "root": root, **more}
        logging.config.dictConfig({"disable_existing_loggers": False, **config})
        return settings(logconfig_dict=config)

    return configure


def adopt(log: Any, cfg: Any = None, **options: Any) -> None:
    cfg = settings() if cfg is None else cfg
    adopt_loggers(log, cfg)
    adopt_loggers(log, cfg, Config(app=hello, **options))


def lines(kept: dict[str, Records]) -> dict[str, list[str]]:
    return {name: handler.lines for name, handler in kept.items() if handler.lines}


error, access, asgi = (logging.getLogger(name) for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"))


class TestWithoutAConfiguration:
    def test_lines_go_where_gunicorns_do(self, log: Log, kept: dict[str, Records]) -> None:
        adopt(log)
        error.warning("error")
        access.info("access")
        asgi.info("asgi")
        assert lines(kept) == {"gunicorn": ["error", "access", "asgi"]}

    def test_the_level_is_gunicorns(self, kept: dict[str, Records]) -> None:
        adopt(Log(kept["gunicorn"], logging.WARNING), settings(loglevel="warning"), log_level="warning")
        error.info("no")
        error.warning("yes")
        assert lines(kept) == {"gunicorn": ["yes"]}

    @pytest.mark.parametrize(("log_level", "level"), [("trace", 5), ("debug", 10), ("critical", 50)])
    def test_the_option_says_more_than_gunicorn_knows(self, log: Log, log_level: str, level: int) -> None:
        adopt(log, log_level=log_level)
        assert (error.level, asgi.level, access.level) == (level, level, max(level, logging.INFO))

    def test_one_handler_for_every_logger_has_each_line_once(
        self, log: Log, kept: dict[str, Records], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As loguru's users set it up before they start Gunicorn, the root logger among them."""
        for name in (None, "uvicorn", "uvicorn.error", "uvicorn.access"):
            monkeypatch.setattr(logging.getLogger(name), "handlers", [kept["own"]])
        adopt(log)
        adopt(log)
        error.warning("error")
        access.info("access")
        assert lines(kept) == {"own": ["error", "access"]}

    def test_what_the_application_adds_to_the_root_logger_then_is_reached(
        self, log: Log, kept: dict[str, Records], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Sentry's and OpenTelemetry's handlers are added."""
        for name in (None, "uvicorn"):
            monkeypatch.setattr(logging.getLogger(name), "handlers", [kept["own"]])
        adopt(log)
        logging.getLogger().addHandler(kept["root"])
        adopt(log)
        error.warning("error")
        access.info("access")
        assert lines(kept) == {"own": ["error", "access"], "root": ["error", "access"]}

    def test_another_handler_of_the_root_logger_is_reached(self, log: Log, kept: dict[str, Records]) -> None:
        logging.getLogger("uvicorn").addHandler(kept["own"])
        logging.getLogger().addHandler(kept["root"])
        adopt(log)
        error.warning("error")
        assert lines(kept) == {"own": ["error"], "root": ["error"]}

    def test_gunicorns_handlers_of_the_moment_count(self, log: Log, kept: dict[str, Records]) -> None:
        adopt(log)
        log.error_log.handlers = [kept["own"]]
        adopt(log)
        error.warning("a line")
        assert lines(kept) == {"own": ["a line"]}

    def test_gunicorns_filters_hold(self, log: Log, kept: dict[str, Records]) -> None:
        adopt(log)
        log.error_log.addFilter(lambda record: "secret" not in record.getMessage())
        try:
            error.warning("a secret")
            error.handlers = [kept["own"]]
            error.warning("another secret")
        finally:
            log.error_log.filters.clear()
        assert lines(kept) == {"own": ["another secret"]}

    @pytest.mark.parametrize("how", ["cleared", "replaced", "propagate", "formatter", "filter", "level"])
    def test_who_is_changed_does_not_follow_any_longer(self, log: Log, kept: dict[str, Records], how: str) -> None:
        adopt(log)
        assert follows_gunicorn("uvicorn.access")
        handler = kept["gunicorn"]
        if how == "cleared":
            access.handlers.clear()
        elif how == "replaced":
            access.handlers = [kept["own"]]
        elif how == "propagate":
            access.propagate = True
        elif how == "formatter":
            handler.setFormatter(logging.Formatter())
        elif how == "filter":
            handler.addFilter(lambda record: True)
        else:
            handler.setLevel(logging.DEBUG)
        left = access.handlers
        adopt(log)
        assert not follows_gunicorn("uvicorn.access")
        assert access.handlers is left
        assert handler in log.access_log.handlers

    def test_a_level_of_the_application_is_kept(self, log: Log) -> None:
        adopt(log)
        error.setLevel(logging.ERROR)
        adopt(log, log_level="debug")
        assert error.level == logging.ERROR

    def test_a_level_of_ours_is_replaced(self, log: Log) -> None:
        adopt(log)
        adopt(log, log_level="debug")
        assert error.level == logging.DEBUG

    def test_what_is_done_to_ours_leaves_gunicorns_alone(self, log: Log, kept: dict[str, Records]) -> None:
        # As a dictConfig() of the application does.
        adopt(log)
        for handler in list(error.handlers):
            error.removeHandler(handler)
        error.addHandler(kept["own"])
        error.warning("ours")
        log.error_log.warning("theirs")
        assert lines(kept) == {"own": ["ours"], "gunicorn": ["theirs"]}

    def test_a_level_that_a_preloaded_application_set_is_kept(self, log: Log) -> None:
        access.setLevel(logging.ERROR)
        adopt(log)
        assert access.level == logging.ERROR

    def test_a_handler_of_a_preloaded_application_is_kept(self, log: Log, kept: dict[str, Records]) -> None:
        error.addHandler(kept["own"])
        error.propagate = False
        adopt(log)
        error.warning("a line")
        assert lines(kept) == {"own": ["a line"]}
        assert error.handlers == [kept["own"]]

    def test_there_are_handlers_to_be_found(self, log: Log, kept: dict[str, Records]) -> None:
        adopt(log)
        assert handlers_of(access) == access.handlers
        assert kept["gunicorn"] in access.handlers
        assert kept["gunicorn"] in error.handlers

    def test_a_gunicorn_that_is_silent_is_followed(self, log: Log, kept: dict[str, Records]) -> None:
        log.access_log.disabled = True
        adopt(log)
        access.info("nowhere")
        assert lines(kept) == {}


class TestNamed:
    @pytest.mark.parametrize(
        ("name", "settings_of", "expected"),
        [
            ("uvicorn.error", {"handlers": ["own"]}, ["own"]),
            ("uvicorn.error", {"handlers": ["own"], "propagate": False}, ["own"]),
            ("uvicorn.error", {"handlers": ["own"], "propagate": True}, ["own", "root"]),
            ("uvicorn.error", {"handlers": ["root"], "propagate": True}, ["root"]),
            ("uvicorn.error", {"handlers": ["root"]}, ["root"]),
            ("uvicorn.error", {"level": "DEBUG"}, ["root"]),
            ("uvicorn.error", {}, ["root"]),
            ("uvicorn.error", {"handlers": [], "propagate": False}, []),
            ("uvicorn", {"handlers": ["own"]}, ["own"]),
            ("uvicorn", {"handlers": ["own"], "propagate": True}, ["own", "root"]),
            ("uvicorn", {}, ["root"]),
            ("uvicorn.access", {"handlers": ["own"]}, ["gunicorn"]),
        ],
    )
    def test_each_line_appears_once(
        self,
        log: Log,
        kept: dict[str, Records],
        configure: Callable[..., Any],
        name: str,
        settings_of: dict[str, Any],
        expected: list[str],
    ) -> None:
        adopt(log, configure({name: settings_of}))
        error.warning("a line")
        assert lines(kept) == {handler: ["a line"] for handler in expected}

    def test_uvicorns_own_configuration(
        self, log: Log, kept: dict[str, Records], configure: Callable[..., Any]
    ) -> None:
        cfg = configure(
            {
                "uvicorn": {"handlers": ["own"], "level": "INFO", "propagate": False},
                "uvicorn.error": {"level": "INFO"},
                "uvicorn.access": {"handlers": ["root"], "level": "INFO", "propagate": False},
            }
        )
        adopt(log, cfg)
        error.info("error")
        access.info("access")
        asgi.info("asgi")
        log.error_log.info("gunicorn")
        assert lines(kept) == {"own": ["error", "asgi"], "root": ["access"], "gunicorn": ["gunicorn"]}

    def test_without_a_level_it_is_gunicorns(self, log: Log, configure: Callable[..., Any]) -> None:
        adopt(log, configure({"uvicorn.error": {"handlers": ["own"]}, "uvicorn.access": {}}), log_level="debug")
        assert (error.level, access.level) == (logging.DEBUG, logging.INFO)

    def test_the_level_of_the_parent_is_one(self, log: Log, configure: Callable[..., Any]) -> None:
        adopt(log, configure({"uvicorn": {"handlers": ["own"], "level": "ERROR"}}))
        assert error.getEffectiveLevel() == access.getEffectiveLevel() == logging.ERROR

    def test_its_own_level_is_kept(self, log: Log, configure: Callable[..., Any]) -> None:
        adopt(log, configure({"uvicorn.error": {"handlers": ["own"], "level": "ERROR"}}), log_level="debug")
        assert error.level == logging.ERROR

    def test_with_nowhere_to_go_it_leads_to_gunicorns(
        self, log: Log, kept: dict[str, Records], configure: Callable[..., Any]
    ) -> None:
        adopt(log, configure({"uvicorn.error": {"level": "INFO"}}, root={"handlers": []}))
        error.info("a line")
        assert lines(kept) == {"gunicorn": ["a line"]}

    def test_gunicorns_access_log_does_not_repeat_a_handler(
        self, log: Log, kept: dict[str, Records], configure: Callable[..., Any]
    ) -> None:
        # Gunicorn's own defaults do: gunicorn.access and the root logger have the same handler.
        adopt(log, configure({"gunicorn.access": {"handlers": ["root"], "propagate": True}}))
        log.access_log.info("a line")
        assert lines(kept) == {"root": ["a line"]}


INI = """
[loggers]
keys = root, error, access, other

[handlers]
keys =

[formatters]
keys =

[logger_root]
handlers =

[logger_error]
qualname = uvicorn.error
handlers =

[logger_access]
qualname = uvicorn.access
propagate = 1
handlers =
"""


class TestConfigured:
    def test_nothing(self) -> None:
        assert configured_loggers(settings()) == {}

    def test_a_dictionary(self) -> None:
        loggers = {"uvicorn.error": {}, "uvicorn.access": {"propagate": True}, "x": {"propagate": False}}
        cfg = settings(logconfig_dict={"version": 1, "loggers": loggers})
        assert configured_loggers(cfg) == {"uvicorn.error": False, "uvicorn.access": True, "x": False}
        assert configured_loggers(settings(logconfig_dict={"version": 1})) == {}

    def test_json(self, tmp_path: Path) -> None:
        (tmp_path / "log.json").write_text(json.dumps({"version": 1, "loggers": {"uvicorn.error": {}}}))
        assert configured_loggers(settings(logconfig_json=str(tmp_path / "log.json"))) == {"uvicorn.error": False}

    def test_an_ini_file(self, tmp_path: Path) -> None:
        (tmp_path / "log.ini").write_text(INI)
        cfg = settings(logconfig=str(tmp_path / "log.ini"))
        assert configured_loggers(cfg) == {"uvicorn.error": False, "uvicorn.access": True}

    @pytest.mark.parametrize("setting", ["logconfig_json", "logconfig"])
    @pytest.mark.parametrize("text", [None, "{half", "[loggers"])
    def test_a_file_that_is_no_more(self, setting: str, text: str | None, tmp_path: Path) -> None:
        path = tmp_path / "log"
        if text is not None:
            path.write_text(text)
        assert configured_loggers(settings(**{setting: str(path)})) == {}


def test_with_gunicorns_own_logger(tmp_path: Path) -> None:
    log = Logger(settings(errorlog=str(tmp_path / "error.log"), loglevel="warning"))
    adopt(log, settings(loglevel="warning"), log_level="warning")
    error.info("no")
    error.warning("before")
    (tmp_path / "error.log").rename(tmp_path / "error.log.1")
    log.reopen_files()
    error.warning("after")
    assert (tmp_path / "error.log.1").read_text().endswith("before\n")
    assert (tmp_path / "error.log").read_text().endswith("after\n")
    for handler in list(log.error_log.handlers):
        handler.close()


def test_log_config_wins_over_gunicorns_handlers(log: Log, kept: dict[str, Records]) -> None:
    loggers = {"uvicorn.error": {"handlers": ["own"], "level": "WARNING", "propagate": False}}
    log_config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"own": {"()": lambda: kept["own"]}},
        "loggers": loggers,
    }
    config = Config(app=hello, log_config=log_config)
    set_up_logging(log, settings(), config)
    error.info("no")
    error.warning("a line")
    access.info("access")
    assert lines(kept) == {"own": ["a line"], "gunicorn": ["access"]}


def test_log_config_that_is_none(log: Log) -> None:
    config = Config(app=hello, log_config="no-such-file.yaml")
    with pytest.raises(ConfigError, match=r"option log_config = 'no-such-file\.yaml'"):
        set_up_logging(log, settings(), config)
