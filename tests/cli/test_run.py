"""`run()` and what it is made of: who serves, what is said of a start that fails, and with which exit code."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from uvicorn_worker.cli import reloading
from uvicorn_worker.cli.command import command
from uvicorn_worker.cli.masters import Master
from uvicorn_worker.cli.run import FAILURE, check, free_port, launch, pid_file, prepare, run
from uvicorn_worker.core.errors import STARTUP_FAILURE, AppLoadError, BindError, ConfigError, LifespanError
from uvicorn_worker.server import Config

# The package has a function of that name.
module: Any = sys.modules["uvicorn_worker.cli.run"]


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(module, "set_up_logging", lambda config: None)


class Server:
    """Stands in for the server: `does` is what its run() does."""

    does: Any = None
    started = True
    own_captured: Any = ()

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> None:
        if isinstance(self.does, BaseException):
            raise self.does
        if self.does is not None:
            self.does(self.config)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    class Mine(Server): ...

    monkeypatch.setattr(module, "Server", Mine)
    monkeypatch.setattr(module, "report_alone", lambda server: None)
    return Mine


def code_of(*given: Any, **options: Any) -> Any:
    with pytest.raises(SystemExit) as ended:
        run(*given, **options)
    return ended.value.code


def test_one_process_serves_and_run_returns(server: type[Server], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    run(app, port=0)
    server.does = KeyboardInterrupt()
    run(app, port=0)
    assert [record.message.split(" [")[0] for record in caplog.records] == [
        "Started server process",
        "Finished server process",
    ] * 2


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (BindError("taken"), STARTUP_FAILURE, "taken"),
        (ConfigError("no"), FAILURE, "no"),
        (LifespanError("said by the server"), STARTUP_FAILURE, ""),
    ],
)
def test_a_start_that_fails(
    server: type[Server], caplog: pytest.LogCaptureFixture, failure: Exception, code: int, says: str
) -> None:
    server.does = failure
    assert code_of(app, port=0) == code
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ([says] if says else [])


@pytest.mark.parametrize("captured", [(), (signal.SIGINT,)])
def test_a_server_that_has_never_served(server: type[Server], captured: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A `startup()` of a program's own that gives up ends the process as a failed start; Ctrl+C does not."""
    caplog.set_level("INFO", "uvicorn.error")
    server.started, server.own_captured = False, captured
    if captured:
        run(app, port=0)
    else:
        assert code_of(app, port=0) == STARTUP_FAILURE
    assert any("Finished" in record.message for record in caplog.records) is bool(captured)


def test_an_application_that_can_not_be_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert code_of("no_such_module_at_all:app") == STARTUP_FAILURE
    assert "there is no module 'no_such_module_at_all'" in caplog.text
    (tmp_path / "raises_at_import.py").write_text("1 / 0\n")
    assert code_of("raises_at_import:app") == FAILURE
    assert "ZeroDivisionError" in caplog.text


def test_term_ends_the_process_in_order_and_other_signals_are_raised_again(
    server: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    try:
        server.does = staticmethod(lambda config: config.own_surroundings.raise_again(signal.SIGTERM))
        assert code_of(app, port=0) == 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run(app, port=0)
        assert raised == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_socket_gets_its_permissions_and_ready_is_said(
    server: type[Server], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    monkeypatch.setattr(module, "ready_of", lambda server, seconds: "Ready.")
    seen: list[Any] = []

    class Made:
        own_uds_mode: int | None = None
        own_log = logging.getLogger("uvicorn.error")

    def serve(config: Any) -> None:
        made = Made()
        config.own_surroundings.begins(made)
        config.own_surroundings.started(made)
        config.own_surroundings.set_up_logging(config)
        seen.append(made.own_uds_mode)

    server.does = staticmethod(serve)
    launch(app, {"uds": "s"}, Master(uds_mode=0o600))
    assert seen == [0o600]
    assert "Ready." in caplog.text


def test_several_processes_have_gunicorn(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    started: list[Any] = []

    def start(config: Any, said: Any, master: Any) -> None:
        started.append((config.workers, said))
        raise SystemExit(0)

    monkeypatch.setattr(module, "run_master", start)
    with pytest.raises(SystemExit):
        launch(app, {"workers": 2, "port": 0}, said=["workers"])
    assert started == [(2, ["workers"])]
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    # As with one process, and with uvicorn, the program goes on.
    run(app, port=0)
    assert started[-1][0] == 3
    assert code_of(app, port=0, workers=2, ssl_certfile="no.pem") == FAILURE
    assert "can't be read" in caplog.text


def test_a_worker_does_not_come_back_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(config: Any, said: Any, master: Any) -> None:
        # It was forked meanwhile.
        monkeypatch.setattr(module.os, "getpid", lambda: -1)
        raise SystemExit(codes[len(ended)])

    codes = (0, 3)
    ended: list[Any] = []
    monkeypatch.setattr(module, "run_master", start)
    monkeypatch.setattr(module, "end_process", ended.append)
    for _ in codes:
        with contextlib.suppress(SystemExit):
            run(app, port=0, workers=2)
        monkeypatch.setattr(module.os, "getpid", os.getppid)
    assert tuple(ended) == codes


def test_what_is_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "free_port", lambda host: 8123)
    assert prepare(app, {"port": "auto"}).port == 8123
    prepare(app, {"app_dir": "sub"})
    assert sys.path[0] == str(tmp_path / "sub")


def test_a_working_directory_that_has_been_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A release that is gone, whose service is started anew with the path of the application in PYTHONPATH."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        prepare(app, {})
        assert sys.path[0] == ""
        with pytest.raises(AppLoadError, match="a working directory that has been removed"):
            prepare("nowhere:app", {}).load()
    finally:
        os.chdir(tmp_path)


def test_the_first_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bound:
        def close(self) -> None: ...

    def bind(host: Any, port: int, uds: Any, fd: Any) -> Any:
        if port < least:
            raise BindError("taken")
        return Bound()

    monkeypatch.setattr(module, "bind", bind)
    least = 8002
    assert free_port("127.0.0.1") == 8002
    least = 9000
    assert free_port(None) == 0


def test_the_pid_is_written_and_taken_away(tmp_path: Path) -> None:
    with pid_file(str(tmp_path / "p")):
        assert (tmp_path / "p").read_text().strip().isdigit()
    assert not (tmp_path / "p").exists()
    with pytest.raises(ConfigError, match="can't be written"), pid_file(str(tmp_path / "no" / "p")):
        pass
    with pid_file(None):
        pass


def test_what_is_checked() -> None:
    check(app, {})
    with pytest.raises(AppLoadError):
        check("no_such_module_at_all:app", {})
    with pytest.raises(ConfigError):
        check(app, {"ssl_certfile": "no.pem"})


def assign(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """What a program puts into `uvicorn_worker.main`, which stands above this room."""
    main = ModuleType("uvicorn_worker.main")
    vars(main).update(names)
    monkeypatch.setitem(sys.modules, main.__name__, main)


def test_a_step_that_a_program_has_put_into_the_config(monkeypatch: pytest.MonkeyPatch, server: type[Server]) -> None:
    loaded: list[Any] = []

    def load_app(self: Config) -> Any:
        loaded.append(self.app)
        return app

    monkeypatch.setattr(Config, "load_app", load_app)
    run("nowhere:app", port=0)
    assert loaded == ["nowhere:app"]


def test_classes_of_the_module_of_the_command_can_be_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Config): ...

    class Mine(Server):
        def run(self) -> None:
            assert type(self.config) is Own
            raise LifespanError("mine")

    assign(monkeypatch, Config=Own, Server=Mine)
    monkeypatch.setattr(module, "report_alone", lambda server: None)
    assert code_of(app, port=0) == STARTUP_FAILURE


def test_reload_by_what_a_program_has_made_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Mine:
        def __init__(self, config: Any, target: Any, sockets: Any) -> None:
            made.extend([config.app, callable(target), *(sock.getsockname()[0] for sock in sockets)])

        def run(self) -> None:
            made.append("run")

    assign(monkeypatch, ChangeReload=Mine)
    run("main:app", reload=True, port=0)
    assert made == ["main:app", True, "127.0.0.1", "run"]


def test_reload_needs_a_name_and_one_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert code_of(app, reload=True) == FAILURE
    assert "the application must be named" in caplog.text
    does: list[Any] = [0]

    class Reloader:
        def __init__(self, *given: Any) -> None: ...

        def run(self) -> int:
            if isinstance(does[0], Exception):
                raise does[0]
            return int(does[0])

    monkeypatch.setattr(reloading, "Reloader", Reloader)
    run("main:app", reload=True, workers=2)
    assert "--workers = 2 has no effect" in caplog.text
    does[0] = 7
    assert code_of("main:app", reload=True) == 7
    does[0] = BindError("taken")
    assert code_of("main:app", reload=True) == FAILURE
    assert "taken" in caplog.text


def test_access_lines_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    access = logging.getLogger("uvicorn.access")
    before = access.handlers, access.propagate, access.level
    try:
        module.set_up_logging(prepare(app, {"access_log": False, "log_config": None}))
        assert (access.handlers, access.propagate) == ([], False)
        module.set_up_logging(prepare(app, {"log_config": None}))
    finally:
        access.handlers, access.propagate, access.level = before


class TestAFactory:
    """It is called where the loop runs, so that it may begin tasks."""

    @pytest.fixture(autouse=True)
    def _module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "made_late", raising=False)
        (tmp_path / "made_late.py").write_text(
            "import asyncio\n"
            "async def app(scope, receive, send): ...\n"
            "def create():\n    asyncio.get_running_loop()\n    return app\n"
            "def fails():\n    return 1 / 0\n"
            "def gives_none():\n    return None\n"
        )

    def test_its_loop_is_that_of_the_server(self, server: type[Server]) -> None:
        made: list[Any] = []

        async def load(config: Any) -> None:
            made.append(config.own_surroundings.load(config))

        server.does = staticmethod(lambda config: asyncio.run(load(config)))
        run("made_late:create", factory=True)
        run("made_late:create")
        assert [each.__name__ for each in made] == ["app", "app"]

    def test_one_that_fails(self, server: type[Server], caplog: pytest.LogCaptureFixture) -> None:
        server.does = staticmethod(lambda config: config.own_surroundings.load(config))
        assert code_of("made_late:fails", factory=True) == FAILURE
        assert "The application can't be loaded.\n" in caplog.text
        assert "ZeroDivisionError" in caplog.text
        assert code_of("made_late:gives_none", factory=True) == STARTUP_FAILURE
        assert "must give an application, not NoneType" in caplog.text

    def test_what_else_is_raised_is_passed_on(self, server: type[Server]) -> None:
        server.does = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            run("made_late:create", factory=True)

    def test_it_is_checked(self) -> None:
        check("made_late:create", {"factory": True})


class TestOfACommandWithTheParametersOfOurs:
    """`cli.commands["start"].params = uvicorn.main.params[1:]`, whose values all come to `run(app, **values)`."""

    @staticmethod
    def start(*words: str) -> None:
        click: Any = pytest.importorskip("click")
        parameters = [each for each in command().params if each.name != "app"]
        start = click.Command("start", params=parameters, callback=lambda **values: run(app, **values))
        start(words, standalone_mode=False)

    def test_it_serves_where_it_is_told(self, server: type[Server]) -> None:
        seen: list[Any] = []
        server.does = staticmethod(lambda config: seen.append((config.host, config.port, config.headers)))
        self.start()
        self.start("--port", "0", "--header", "X-A:b")
        # None of `host` would be all of the machine's addresses.
        assert seen == [("127.0.0.1", 8000, []), ("127.0.0.1", 0, [("X-A", "b")])]

    def test_it_knows_where_it_will_serve(self) -> None:
        """Such commands show it: `log.info("Running on http://%s:%s", values["host"], values["port"])`."""
        click: Any = pytest.importorskip("click")
        seen: dict[str, Any] = {}
        parameters = [each for each in command().params if each.name != "app"]
        click.Command("start", params=parameters, callback=seen.update)([], standalone_mode=False)
        assert (seen["host"], seen["port"], seen["uds"]) == ("127.0.0.1", "8000", None)

    def test_its_callback_is_called(self, server: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
        """`uvicorn.main.callback("main:app", **values)`: what nobody has said comes from the environment."""
        click: Any = pytest.importorskip("click")
        seen: list[Any] = []
        server.does = staticmethod(lambda config: seen.append((config.host, config.port)))
        monkeypatch.setenv("UVICORN_PORT", "0")
        main: Any = command()
        start = click.Command("start", params=main.params[1:], callback=lambda **values: main.callback(app, **values))
        start([], standalone_mode=False)
        start(["--host", "localhost", "--port", "8000"], standalone_mode=False)
        main.callback(app, port="9000")
        assert seen == [("127.0.0.1", 0), ("localhost", 8000), ("127.0.0.1", 9000)]

    def test_what_the_command_has_beside_the_options_holds(self, server: type[Server], tmp_path: Path) -> None:
        seen: list[Any] = []
        server.does = staticmethod(lambda config: seen.append((Path("pid").exists(), bool(config.log_config))))
        self.start("--pid", "pid", "--log-format", "json")
        assert seen == [(True, True)]
        with pytest.raises(ConfigError, match="uds_permissions = '9'"):
            self.start("--uds-permissions", "9")
        with pytest.raises(ConfigError, match="print_config = True"):
            self.start("--print-config")


def test_an_application_that_is_put_in_its_place_when_the_server_is_made(server: type[Server]) -> None:
    """As of agents and frameworks that wrap `Server.__init__`."""
    seen: list[Any] = []

    async def other(scope: Any, receive: Any, send: Any) -> None: ...

    class Wrapped(server):  # type: ignore[valid-type, misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            config.app = other

        def run(self) -> None:
            config = self.config
            seen.extend([config.own_surroundings.load(config), config.own_surroundings.load(config)])

    module.Server = Wrapped
    run(app, port=0)
    assert seen == [other, other]


def test_what_is_closed_of_the_standard_files_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    inheritable: list[tuple[int, bool]] = []

    def fstat(descriptor: int) -> None:
        if descriptor and descriptor not in opened:
            raise OSError(errno.EBADF, "Bad file descriptor")

    def take(path: str, flags: int) -> int:
        opened.append(len(opened) + 1)
        return opened[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        patch.setattr(os, "open", take)
        patch.setattr(os, "set_inheritable", lambda *given: inheritable.append(given))
        module.hold_standard_files()
        assert inheritable == [(1, True), (2, True)]
        opened.clear()
        # Windows has no such numbers.
        patch.setattr(os, "name", "nt")
        module.hold_standard_files()
        assert opened == []


@pytest.mark.parametrize("options", [{"workers": 2}, {"reload": True}])
class TestCalledAtImport:
    """A script without `if __name__ == "__main__":`, which a process of its own imports."""

    def test_by_a_worker(
        self, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "_started", {os.getppid()})
        assert code_of("made:app", **options) == FAILURE
        assert "write it below if __name__ == '__main__':" in caplog.text

    def test_by_a_spawned_process(
        self, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
        assert code_of("made:app", **options) == FAILURE
        assert "write it below if __name__ == '__main__':" in caplog.text


def test_what_a_worker_has_forked_may_have_servers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_started", {os.getpid() + 1})
    assert not module._is_called_at_import()


def test_a_script_without_the_guard_says_so(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        "import uvicorn_worker\nasync def app(scope, receive, send): ...\n"
        "uvicorn_worker.run('bare:app', port=0, workers=2)\n"
    )
    line = [sys.executable, "bare.py"]
    done = subprocess.run(line, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "which imports the module: write it below if __name__ == '__main__':" in done.stderr
