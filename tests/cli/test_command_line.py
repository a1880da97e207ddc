"""What the command makes of its line, up to where it would serve."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.cli import command as module
from uvicorn_worker.cli.command import command, main
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.logs.json_lines import JSON_CONFIG

testing = pytest.importorskip("click.testing")

APP = "async def app(scope, receive, send): ...\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is run; what it puts in front of the path of modules is taken away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "main.py").write_text(APP)
    for name in ("main", "broken", "here"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served, each with its options, what is for Gunicorn, and what the line said."""
    found: list[Any] = []
    monkeypatch.setattr(module, "launch", lambda *given: found.append(given))
    return found


def run(*line: str) -> Any:
    return testing.CliRunner().invoke(command(), list(line), prog_name="uvicorn-worker")


def options(launched: list[Any], *line: str) -> dict[str, Any]:
    done = run(*line)
    assert done.exit_code == 0, done.output
    return launched[-1][1]  # type: ignore[no-any-return]


def test_the_line_wins_over_the_environment_and_that_over_the_file(
    launched: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text("[tool.uvicorn]\nroot_path = '/file'\nport = 1\nreload_dirs = ['x']\n")
    monkeypatch.setenv("UVICORN_PORT", "2")
    monkeypatch.setenv("UVICORN_RELOAD_INCLUDES", "*.a, *.b")
    given = options(launched, "main:app", "--host", "::1", "--header", "a:b", "--header", "c:d")
    assert given["root_path"] == "/file"
    assert given["port"] in (2, "2")
    assert given["reload_includes"] == ["*.a", "*.b"]
    assert given["reload_dirs"] == ["x"]
    assert given["headers"] == ["a:b", "c:d"]
    app, _, _, said = launched[-1]
    assert app == "main:app"
    assert said == {"host", "headers"}


def test_a_folder_to_watch_must_be_there(launched: list[Any], folder: Path) -> None:
    """On the command line, as with uvicorn; a file may be named in its place."""
    done = run("main:app", "--reload", "--reload-dir", "no")
    assert done.exit_code == 2
    assert f"option reload_dirs: there is no folder {folder / 'no'}" in done.output
    assert launched == []
    (folder / "config.py").write_text("")
    assert options(launched, "main:app", "--reload", "--reload-dir", "config.py")["reload_dirs"] == ["config.py"]


def test_what_is_for_gunicorn_alone(launched: list[Any]) -> None:
    options(
        launched, "main:app", "-c", "g.py", "--gunicorn", "a=b=c", "--worker-class", "h11", "--preload", "--pid", "p",
        "--uds-permissions", "0o660",
    )  # fmt: skip
    master = launched[-1][2]
    assert (master.config_file, master.settings, master.worker_class) == ("g.py", {"a": "b=c"}, "h11")
    assert (master.preload, master.pid_file, master.uds_mode) == (True, "p", 0o660)


@pytest.mark.parametrize("mode", ["rw", "888", "66"])
def test_permissions_are_octal(launched: list[Any], mode: str) -> None:
    done = run("main:app", "--uds-permissions", mode)
    assert done.exit_code == 2
    assert "must be three octal digits, as in 660" in done.output


def test_without_an_application_one_is_looked_for(launched: list[Any], folder: Path) -> None:
    done = run()
    assert launched[-1][0] == "main:app"
    assert "Serving main:app, found in main.py." in done.output
    (folder / "main.py").write_text("def create_app(): ...\n")
    assert options(launched)["factory"] is True
    (folder / "main.py").write_text("def app(environ, start_response): ...\n")
    assert options(launched)["interface"] == "wsgi"
    (folder / "pyproject.toml").write_text("[tool.uvicorn]\napp = 'there:app'\n")
    options(launched)
    assert launched[-1][0] == "there:app"
    # Gunicorn's file may name it.
    (folder / "pyproject.toml").unlink()
    options(launched, "-c", "g.py")
    assert launched[-1][0] is None
    (folder / "main.py").unlink()
    assert run().exit_code == 2


def test_options_that_say_several(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn_worker.cli.beside.dev_certificate", lambda host: Path(f"/{host}.pem"))
    done = run("main:app", "--dev-cert", "--host", "here.test")
    assert "a browser has to be told once" in done.output
    given = launched[-1][1]
    assert (given["ssl_certfile"], given["ssl_keyfile"], given["http2"]) == ("/here.test.pem", None, "on")
    assert "dev_cert" not in given
    assert options(launched, "main:app", "--dev-cert", "--no-http2")["http2"] is False
    assert options(launched, "main:app", "--log-format", "json")["log_config"] is JSON_CONFIG
    assert "log_config" not in options(launched, "main:app", "--log-format", "text")
    given = options(launched, "main:app", "--log-format", "json", "--log-config", "mine.ini")
    assert given["log_config"] == "mine.ini"


def test_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run("main:app", "--http", "h2", "--print-config").output
    assert 'http2 = "on"' in printed
    assert "# command line" in printed
    assert "# discovered" in run("--print-config").output
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert re.search(r'"10.0.0.1,unix" +# .* FORWARDED_ALLOW_IPS', run("main:app", "--print-config").output)
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert re.search(r"workers = 3 +# .* WEB_CONCURRENCY", run("main:app", "--print-config").output)
    monkeypatch.setattr(sys, "argv", ["uvicorn-worker", "main:app", "--print-systemd"])
    assert "-m uvicorn_worker main:app\n" in run("main:app", "--print-systemd").output
    assert "upstream app {" in run("main:app", "--print-nginx").output
    assert run("--version").output.startswith("uvicorn-worker ")


def test_an_environment_file_that_is_named_has_to_be_there(folder: Path, launched: list[Any]) -> None:
    """As with uvicorn's command; one that is named in code is left out, and a warning says so."""
    done = run("main:app", "--env-file", "none")
    assert done.exit_code == 2
    assert done.output == "Error: option env_file = 'none': there is no such file\n"
    assert not launched


def test_the_configuration_is_checked(folder: Path) -> None:
    assert run("main:app", "--check-config").output.startswith("The options can be used")
    done = run("main:ap", "--check-config")
    assert done.exit_code == 1
    assert "did you mean 'app'?" in done.output
    (folder / "broken.py").write_text("1 / 0\n")
    done = run("broken:app", "--check-config")
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.output
    done = run("main:app", "--ssl-certfile", "no.pem", "--check-config")
    assert done.exit_code == 2
    assert "can't be read" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # bash is asked for its version.
    completion = importlib.import_module("click.shell_completion")
    monkeypatch.setattr(completion.BashComplete, "_check_version", staticmethod(lambda: None))
    assert "_UVICORN_WORKER_COMPLETE" in run("--show-completion", shell).output
    assert run("--show-completion", "tcsh").exit_code == 2


@pytest.mark.parametrize(
    ("words", "begun", "found"),
    [
        ([], "st", ["status"]),
        ([], "ma", ["main:app"]),
        (["--http"], "h", ["httptools", "h11", "h2"]),
        (["--loop"], "u", ["uvloop"]),
        (["--port"], "", ["auto"]),
        (["--ssl-certfile"], "x", [("file", "x")]),
        (["--env-file"], "x", [("file", "x")]),
        (["--app-dir"], "x", [("dir", "x")]),
        (["--pid"], "x", [("file", "x")]),
        (["--root-path"], "x", []),
    ],
)
def test_what_a_shell_completes(words: list[str], begun: str, found: list[Any]) -> None:
    completion: Any = importlib.import_module("click.shell_completion")
    items = completion.ShellComplete(command(), {}, "uvicorn-worker", "X").get_completions(words, begun)
    assert [item.value if item.type == "plain" else (item.type, item.value) for item in items] == found


def test_nothing_is_completed_where_there_is_no_application(folder: Path) -> None:
    (folder / "main.py").unlink()
    completion: Any = importlib.import_module("click.shell_completion")
    assert completion.ShellComplete(command(), {}, "uvicorn-worker", "X").get_completions([], "ma") == []


def test_the_words_for_what_is_served_already(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look(name: str, words: list[str]) -> int:
        asked.append((name, words))
        return 5

    monkeypatch.setattr(module, "look", look)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--json"])
    assert ended.value.code == 5
    assert asked == [("status", ["--json"])]


def test_without_click_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise ModuleNotFoundError(name="click")

    monkeypatch.setattr(module, "command", absent)
    monkeypatch.setattr(sys, "argv", ["uvicorn-worker", "main:app"])
    with pytest.raises(SystemExit, match="install the extra `cli`"):
        main()


def test_an_option_that_can_not_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise ConfigError("option x: no")

    monkeypatch.setattr(module, "launch", refuse)
    done = run("main:app")
    assert (done.exit_code, done.output) == (2, "Error: option x: no\n")


def test_its_help_is_in_groups() -> None:
    text = run("--help").output
    groups = ["Where it listens:", "Processes:", "Reload:", "Application:", "HTTP/2:", "Limits:", "Instead of serving:"]
    assert [text.index(group) for group in groups] == sorted(text.index(group) for group in groups)
    assert "--lifespan [auto|on|off]" in text
    assert "[seconds]" in text
