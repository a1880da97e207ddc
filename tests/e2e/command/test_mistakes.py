"""Mistakes, each of which is one line that says what to do, or the frames of the user's own files; and an exit code."""

from __future__ import annotations

import os
import re
import socket

import pytest

from tests.e2e.command.harness import APP, Command

FILES = {
    "app.py": APP,
    "broken.py": "def f():\n    return 1 / 0\n\nf()\n",
    "lacks.py": "import no_such_module\n",
    "syntax.py": "def app(:\n",
}
ONE: list[str] = []
TWO = ["--workers", "2"]
PRELOADED = ["--workers", "2", "--preload"]
NEAREST = "The application can't be loaded: app 'app:ap': there is no 'ap' in module 'app' ({dir}/app.py); did you mean"
NO_PEM = "option ssl_certfile = 'app.py': holds no certificate (PEM)"


@pytest.mark.parametrize(
    ("app", "more", "code", "says"),
    [
        ("app:ap", ONE, 3, NEAREST),
        ("app:ap", TWO, 4, NEAREST),
        ("app:ap", PRELOADED, 4, NEAREST),
        ("app.py", ONE, 3, "app 'app.py': must be 'module:attribute', as in 'app:app'"),
        ("./app.py:app", TWO, 4, "app './app.py:app': must be 'module:attribute', as in 'app:app'"),
        ("aap:app", TWO, 4, "there is no module 'aap' in {dir}; did you mean 'app'?"),
        ("app:app", ["--reload", "--reload-dir", "no"], 2, "Error: option reload_dirs: there is no folder {dir}/no"),
        ("app:app", ["--ssl-certfile", "app.py"], 1, NO_PEM),
        ("app:app", [*TWO, "--ssl-certfile", "app.py"], 1, NO_PEM),
    ],
)
def test_one_line_says_what_to_do(app: str, more: list[str], code: int, says: str) -> None:
    with Command(app, "--port", "0", *more, files=FILES) as server:
        assert server.wait_exit() == code
        assert says.format(dir=server.dir) in server.log
        assert "Traceback" not in server.log


@pytest.mark.parametrize("more", [ONE, TWO, PRELOADED], ids=["one", "two", "preloaded"])
def test_an_import_that_fails_shows_the_users_own_frames(more: list[str]) -> None:
    with Command("broken:app", "--port", "0", *more, files=FILES) as server:
        assert server.wait_exit() == (3 if more else 1)
        frames = re.findall(r'  File "(.*)", line (\d+), in', server.log)
        assert frames == [(f"{server.dir}/broken.py", "4"), (f"{server.dir}/broken.py", "2")]
        assert server.log.count("ZeroDivisionError: division by zero") == 1


@pytest.mark.parametrize(("app", "error"), [("lacks:app", "ModuleNotFoundError"), ("syntax:app", "SyntaxError")])
def test_nothing_of_gunicorns_is_shown_of_an_import_that_fails(app: str, error: str) -> None:
    with Command(app, "--port", "0", *TWO, files=FILES) as server:
        assert server.wait_exit() == 3
        assert set(re.findall(r'  File "(.*)", line', server.log)) == {
            f"{server.dir}/{app.split(':', maxsplit=1)[0]}.py"
        }
        assert server.log.count(f"{error}: ") == 1


@pytest.mark.parametrize(("more", "code"), [(ONE, 3), (TWO, 1), (["--reload"], 1)], ids=["one", "two", "reload"])
def test_an_address_that_is_taken_is_told_at_once_with_who_has_it(more: list[str], code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Command("app:app", "--port", port, *more) as server:
            assert server.wait_exit() == code
            assert f"127.0.0.1:{port} can't be bound: process {os.getpid()} (" in server.log
            assert server.log.count("\n") <= 2
            assert "startup" not in server.out
