"""What the command makes of its options for Gunicorn."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gunicorn.config import Config as GunicornConfig

from uvicorn_worker import UvicornH11Worker
from uvicorn_worker.cli.masters import Master, check_places, gunicorns, run_master, settings_of
from uvicorn_worker.cli.run import CommandConfig, MasterEnded, launch, run
from uvicorn_worker.core.errors import BindError, ConfigError
from uvicorn_worker.logs.formatters import LOGGING_CONFIG
from uvicorn_worker.master import Application
from uvicorn_worker.server import Config


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The launchers that were run."""
    found: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def run(self: Application) -> None:
        found.append(self)

    monkeypatch.setattr(Application, "run", run)
    return found


def launched(launcher: list[Any], config: Config, master: Master | None = None) -> Any:
    with pytest.raises(SystemExit) as ended:
        run_master(config, (), master or Master())
    assert ended.value.code == 0
    return launcher[-1]


@pytest.mark.parametrize(
    ("options", "bind"),
    [
        ({"host": "::1", "port": 1}, ["[::1]:1"]),
        ({"host": None, "port": 1}, ["0.0.0.0:1"]),
        ({"host": ["::1", "127.0.0.1"], "port": 1}, ["[::1]:1", "127.0.0.1:1"]),
        # Of which Gunicorn's first socket would have all.
        ({"host": ["::", "0.0.0.0"], "port": 1}, ["[::]:1"]),
        ({"uds": "s"}, ["unix:s"]),
        ({"fd": 7}, ["fd://7"]),
    ],
)
def test_where_it_listens(options: dict[str, Any], bind: list[str]) -> None:
    assert settings_of(Config(app, **options), None)["bind"] == bind


def test_settings_of_options(launcher: list[Any]) -> None:
    config = Config(
        app, port=0, workers=3, timeout_worker_healthcheck=0.2, timeout_graceful_shutdown=7, limit_max_requests=9,
        limit_max_requests_jitter=2, access_log=False, ws_max_size=77, log_config=LOGGING_CONFIG,
    )  # fmt: skip
    cfg = launched(launcher, config, Master(worker_class="h11", preload=True, pid_file="p")).cfg
    assert (cfg.workers, cfg.timeout, cfg.graceful_timeout, cfg.accesslog) == (3, 1, 7, None)
    assert (cfg.max_requests, cfg.max_requests_jitter, cfg.preload_app, cfg.pidfile) == (9, 2, True, "p")
    assert issubclass(cfg.worker_class, UvicornH11Worker)
    assert cfg.worker_class.own_drains_on_int
    assert cfg.worker_class.own_config_for(cfg).ws_max_size == 77
    # The table that is given to Gunicorn has a place for access lines.
    assert not cfg.worker_class.own_config_for(cfg).access_log
    assert cfg.logconfig_dict["loggers"]["gunicorn.error"]["handlers"] == ["default"]


@pytest.mark.parametrize(("settings", "means"), [({}, "both"), ({"http2_cleartext": "off"}, "off")])
def test_http2_in_cleartext_as_with_one_process(launcher: list[Any], settings: dict[str, str], means: str) -> None:
    """Gunicorn's default, where it has such a setting, is `off`."""
    if not settings.keys() <= GunicornConfig().settings.keys():
        pytest.skip("a Gunicorn without the setting")
    cfg = launched(launcher, Config(app, port=0, http2=True), Master(settings=settings)).cfg
    assert cfg.worker_class.own_config_for(cfg).http2_cleartext == means


@pytest.mark.parametrize(("given", "level"), [({}, "ERROR"), ({"log_level": "info"}, logging.INFO)])
def test_a_level_that_is_given_wins_over_that_of_the_table(
    launcher: list[Any], given: dict[str, Any], level: Any
) -> None:
    table = {**LOGGING_CONFIG, "loggers": {**LOGGING_CONFIG["loggers"], "uvicorn.error": {"level": "ERROR"}}}
    cfg = launched(launcher, Config(app, port=0, workers=2, log_config=table, **given)).cfg
    assert cfg.logconfig_dict["loggers"]["uvicorn.error"]["level"] == level


@pytest.mark.parametrize(
    ("master", "seconds"),
    [(Master(), 3600.0), (Master(settings={"timeout": "60"}), None), (Master(preload=True), 3600.0)],
)
def test_an_import_is_not_bounded_by_gunicorns_timeout(
    launcher: list[Any], master: Master, seconds: float | None
) -> None:
    cfg = launched(launcher, Config(app, port=0, workers=2, timeout_worker_healthcheck=3), master).cfg
    assert cfg.worker_class.own_quiet_startup == seconds


def test_a_table_in_a_file_is_gunicorns_too(launcher: list[Any], tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps(LOGGING_CONFIG))
    cfg = launched(launcher, CommandConfig(app, port=0, workers=2, log_config=str(tmp_path / "log.json"))).cfg
    assert cfg.logconfig_dict["loggers"]["gunicorn.error"]["handlers"] == ["default"]
    (tmp_path / "log.ini").write_text("[loggers]\nkeys=root\n")
    cfg = launched(launcher, CommandConfig(app, port=0, workers=2, log_config=str(tmp_path / "log.ini"))).cfg
    assert not cfg.logconfig_dict
    assert cfg.worker_class.own_config_for(cfg).log_config == str(tmp_path / "log.ini")


def test_of_a_file_only_what_was_said_wins(launcher: list[Any], tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("workers = 4\ntimeout = 8\nworker_class = 'sync'\n")
    config = Config(app, port=0, workers=2, log_config=LOGGING_CONFIG)
    with pytest.raises(SystemExit):
        run_master(config, ["workers"], Master(config_file=str(tmp_path / "g.py"), settings={"proc_name": "mine"}))
    cfg = launcher[-1].cfg
    assert (cfg.workers, cfg.timeout, cfg.proc_name, cfg.worker_class_str) == (2, 8, "mine", "sync")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"timeot": "3"}, "did you mean timeout?"),
        ({"timeout": "x"}, "--gunicorn timeout=x: "),
        ({"zzzzz": "1"}, "such"),
    ],
)
def test_settings_that_gunicorn_does_not_take(
    launcher: list[Any], capsys: pytest.CaptureFixture[str], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_master(Config(app, port=0), (), Master(settings=settings))
    assert ended.value.code == 1
    assert says in capsys.readouterr().err


def test_when_it_listens_the_socket_has_its_permissions_and_the_address_is_said(
    launcher: list[Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "s"
    cfg = launched(launcher, Config(app, uds=str(path)), Master(uds_mode=0o600)).cfg

    class Listener:
        sock = socket.socket(socket.AF_UNIX)

    class Server:
        LISTENERS = (Listener,)
        log = logging.getLogger("test")

    with Listener.sock:
        Listener.sock.bind(str(path))
        cfg.when_ready(Server)
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"Uvicorn running on unix socket {path} (Press CTRL+C to quit)" in caplog.text


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [("no_such_module:app", 4, "there is no module"), ("raises_at_once:app", 3, "ZeroDivisionError")],
)
def test_with_preload_the_master_says_what_is_wrong(
    launcher: list[Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    code: int,
    says: str,
) -> None:
    (tmp_path / "raises_at_once.py").write_text("1 / 0\n")
    made = launched(launcher, Config(name, port=0), Master(preload=True))
    monkeypatch.setattr(logging.getLogger("gunicorn.error"), "propagate", True)
    with pytest.raises(SystemExit) as ended:
        made.load()
    assert ended.value.code == code
    assert says in caplog.text
    assert launched(launcher, Config(app, port=0)).load() is app


def test_loggers_of_gunicorns_write_as_uvicorns() -> None:
    made = gunicorns({"version": 1, "loggers": {"uvicorn": {"handlers": ["a"]}, "gunicorn.error": {"handlers": ["b"]}}})
    assert made["loggers"]["gunicorn.error"] == {"handlers": ["b"]}
    assert "gunicorn.access" not in made["loggers"]
    assert made["root"]["handlers"] == []


def test_a_level_that_was_given_wins_over_those_of_the_table() -> None:
    table = {"version": 1, "loggers": {"uvicorn": {"level": "INFO"}, "uvicorn.access": {"level": "INFO"}}}
    made = gunicorns(table, "warning")["loggers"]
    levels = {name: each["level"] for name, each in made.items()}
    others = dict.fromkeys(("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gunicorn.error", "gunicorn.access"), 30)
    assert levels == {"uvicorn": "INFO", **others}
    assert gunicorns(table)["loggers"]["uvicorn.access"] == {"level": "INFO"}
    assert "gunicorn.access" not in gunicorns({"version": 1}, "trace")["loggers"]


def test_places_are_looked_at_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config(app, port=taken.getsockname()[1])
        with pytest.raises(BindError, match=str(os.getpid())):
            check_places(config, Master())
        check_places(config, Master(config_file="g.py"))
        check_places(config, Master(settings={"bind": "127.0.0.1:0"}))
        # At USR2 it is the master of before that has it, and with systemd's sockets systemd.
        monkeypatch.setenv("GUNICORN_FD", "3")
        check_places(config, Master())
    with pytest.raises(ConfigError, match=r"no\.pem"):
        check_places(Config(app, port=0, ssl_certfile=str(tmp_path / "no.pem")), Master())


@pytest.mark.parametrize(
    ("place", "is_left_out"),
    [("home/.gunicorn/g.ctl", False), ("file/.gunicorn/g.ctl", True), ("~/.gunicorn/g.ctl", True)],
)
def test_a_control_socket_that_has_no_place_is_left_out(
    launcher: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, is_left_out: bool
) -> None:
    control = GunicornConfig().settings.get("control_socket")
    if control is None:
        pytest.skip("Gunicorn before 25")
    (tmp_path / "file").touch()
    usual = place if place.startswith("~") else str(tmp_path / place)
    monkeypatch.setattr(type(control), "default", usual)
    assert launched(launcher, Config(app, workers=2)).cfg.control_socket_disable is is_left_out
    assert not (tmp_path / "~").exists()
    # What somebody asks for is left to Gunicorn, which says what is wrong.
    asked = Master(settings={"control_socket": "/dev/null/g.ctl"})
    assert not launched(launcher, Config(app, workers=2), asked).cfg.control_socket_disable


def test_processes_of_what_a_program_has_made_its_own(
    monkeypatch: pytest.MonkeyPatch, launcher: list[Any], tmp_path: Path
) -> None:
    made: list[Any] = []

    class Mine:
        def __init__(self, config: Any, sockets: Any) -> None:
            made.extend([config.workers, *(sock.getsockname()[0] for sock in sockets)])

        def run(self) -> None:
            made.append("run")

    main: Any = ModuleType("uvicorn_worker.main")
    main.Multiprocess = Mine
    monkeypatch.setitem(sys.modules, main.__name__, main)
    run("main:app", workers=2, port=0, log_config=None)
    assert made == [2, "127.0.0.1", "run"]
    assert launcher == []
    # What is said to Gunicorn is for Gunicorn.
    with pytest.raises(MasterEnded):
        launch("main:app", {"workers": 2, "port": 0, "log_config": None}, Master(settings={"proc_name": "mine"}))
    assert len(launcher) == 1
