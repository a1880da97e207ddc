"""`--reload` of the command: what somebody sees who edits, saves and looks."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.command.harness import APP, Command
from tests.e2e.harness import PATIENCE, until
from uvicorn_worker.cli.watching import QUIET_SECONDS

# There is no watchfiles then.
WITHOUT = "import sys\nsys.modules['watchfiles'] = None\n"


@pytest.fixture(scope="module", params=["WatchFiles", "StatReload"])
def server(request: pytest.FixtureRequest) -> Iterator[Command]:
    if request.param == "WatchFiles":
        pytest.importorskip("watchfiles")
    line = ["app:app", "--port", "0", "--reload"]
    if request.param == "StatReload":
        line = ["-c", WITHOUT + "from uvicorn_worker.cli.command import main; main()", *line]
    with Command(*line, program=() if line[0] == "-c" else ("-m", "uvicorn_worker")) as command:
        command.wait_log("Application startup complete")
        assert f"using {request.param}" in command.log
        assert "Will watch for changes in these directories: ['" in command.log
        yield command
        command.signal(signal.SIGINT)
        assert command.wait_exit() == 0
        assert command.out.count("startup") == command.out.count("shutdown")


def save(server: Command, text: str, name: str = "app.py") -> None:
    """Write a file as editors do."""
    new = server.dir / f".{name}.new"
    new.write_text(text)
    new.replace(server.dir / name)


def version(server: Command, number: int) -> None:
    """Save another version, and wait for its first answer."""
    save(server, APP.replace("VERSION", str(number)))
    until(lambda: server.get().text == f"version {number}", f"version {number}")


def test_ten_edits_in_a_row_under_load(server: Command) -> None:
    done = threading.Event()
    failures: list[Exception] = []
    answers: list[int] = []

    def load() -> None:
        while not done.is_set():
            try:
                answer = server.get()
                answers.append(answer.status_code)
            except Exception as exc:  # noqa: BLE001 - whatever a client sees is a failure
                failures.append(exc)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 11):
            version(server, number)
    finally:
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failures == []
    assert set(answers) == {200}


def test_a_client_that_asks_meanwhile_waits(server: Command) -> None:
    """From the first moment of the restart on, whoever connects is answered by the new code."""
    restarts = server.log.count("Reloading...")
    save(server, "import time; time.sleep(0.5)\n" + APP.replace("VERSION", "patient"))
    server.wait_log(r"Reloading\.\.\.", restarts + 1)
    until(lambda: server.get().text == "version patient", "the new code")


def test_a_client_that_has_just_connected_has_time_to_ask(server: Command) -> None:
    """On a machine that has much to do it may not get to it as soon as it wants to."""
    restarts = server.log.count("Reloading...")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        save(server, APP.replace("VERSION", "after"))
        server.wait_log(r"Reloading\.\.\.", restarts + 1)
        time.sleep(0.3)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    until(lambda: server.get().text == "version after", "the new code")


def test_a_mistake_is_shown_and_mended(server: Command) -> None:
    save(server, "def app(:\n")
    until(lambda: server.get().status_code == 500, "the page")
    page = server.get()
    assert "SyntaxError" in page.text
    assert page.headers["content-type"].startswith("text/plain")
    assert "waiting for a change" in server.log
    assert "SyntaxError" in server.log
    version(server, 20)
    save(server, "import no_such_module\n")
    until(lambda: server.get().status_code == 500, "the page")
    assert "No module named 'no_such_module'" in server.get().text
    assert "importlib" not in server.log
    save(server, APP.replace("await receive()\n        print", "1 / 0\n        print", 1))
    version(server, 21)


def test_open_streams_and_websockets_do_not_hold_it_up(server: Command) -> None:
    stream = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    with stream, connect(f"ws://127.0.0.1:{server.port}/", open_timeout=PATIENCE, proxy=None) as websocket:
        stream.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        version(server, 30)
        with pytest.raises(ConnectionClosed):
            websocket.recv(PATIENCE)
        assert websocket.close_code == 1012
        while stream.recv(65536):
            pass


def test_a_request_that_waits_for_its_answer_gets_it(server: Command) -> None:
    waits = "    else:\n        print('asked', flush=True)\n        await asyncio.sleep(0.7)\n"
    slow = APP.replace("    else:\n", waits)
    save(server, slow.replace("VERSION", "slow"))
    until(lambda: server.get().text == "version slow", "the slow version")
    asked = server.out.count("asked")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get)
        until(lambda: server.out.count("asked") > asked, "the request")
        version(server, 35)
        assert answer.result().text == "version slow"
    assert "AttributeError" not in server.log


def test_a_burst_of_saves_is_one_restart(server: Command) -> None:
    restarts = server.log.count("Reloading...")
    saved = [time.monotonic()]
    for number in range(30):
        save(server, APP.replace("VERSION", f"burst {number}"))
        saved.append(time.monotonic())
        save(server, f"X = {number}\n", f"other{number % 3}.py")
        saved.append(time.monotonic())
    until(lambda: server.get().text == "version burst 29", "the last of them")
    # A busy machine makes pauses between the saves, and a pause ends a burst; a change is seen between two of the times
    # that are noted here. Nor is a burst waited for without end. What watches may have had pauses of its own.
    pauses = sum(after - before >= QUIET_SECONDS for before, after in zip(saved, saved[2:], strict=False))
    bursts = 1 + pauses + int(saved[-1] - saved[0])
    assert server.log.count("Reloading...") - restarts <= 2 * bursts


def test_other_files_do_not_count(server: Command) -> None:
    restarts = server.log.count("Reloading...")
    save(server, "x", "notes.txt")
    save(server, "x", ".hidden.py")
    version(server, 40)
    assert server.log.count("Reloading...") - restarts == 1


def test_a_process_that_ends_is_told_and_mended(server: Command) -> None:
    save(server, "import os; os._exit(7)\n")
    server.wait_log("has ended with code 7")
    version(server, 50)


def test_includes_and_excludes() -> None:
    files = {"app.py": APP, "left/out.py": "", "data/words.txt": "", "env": "", "away/x.py": ""}
    options = ["--reload-include", "*.txt", "--reload-exclude", "left", "--reload-exclude", "no_*.py"]
    line = ["app:app", "--port", "0", "--reload", *options, "--env-file", "env", "--reload-delay", "0.1"]
    with Command(*line, files=files) as server:
        server.wait_log("Application startup complete")
        for name, counts in [("left/out.py", False), ("no_such.py", False), ("data/words.txt", True), ("env", True)]:
            restarts = server.log.count("Reloading...")
            (server.dir / name).write_text("A=1")
            if counts:
                server.wait_log(r"Reloading\.\.\.", restarts + 1)
                # One that is not there yet would be replaced before it says so.
                server.wait_log("Application startup complete", restarts + 2)
        assert server.log.count("Reloading...") == 2
    with Command("app:app", "--port", "0", "--reload", "--reload-dir", "data", files=files) as server:
        server.wait_log("Application startup complete")
        (server.dir / "away" / "x.py").write_text("A=1")
        (server.dir / "data" / "y.py").write_text("A=1")
        assert "data/y.py" in server.wait_log(r"detected changes in .*")


def test_its_figures_are_found_and_only_what_was_said_is_not_by_default(server: Command) -> None:
    version(server, 60)
    assert "not by default" not in server.log
    for who in (server.pid, max(server.processes())):
        code, status = server.status(who)
        assert code == 0, status
        assert re.search(rf"master {server.pid}, up \S+: ready, 1 of 1 worker serving; [1-9]\d* requests?", status)
        assert "told to leave: reload" in status


def test_run_of_a_script_starts_a_new_interpreter() -> None:
    script = (
        "import uvicorn_worker, settings\n"
        "if __name__ == '__main__':\n    uvicorn_worker.run('app:app', port=0, reload=True)\n"
    )
    app = APP.replace("import asyncio", "import asyncio, settings").replace(
        'b"version VERSION"', "str(settings.X).encode()"
    )
    files = {"main.py": script, "app.py": app, "settings.py": "X = 1\n"}
    with Command(files=files, program=("main.py",)) as server:
        assert server.get().text == "1"
        save(server, "X = 2\n", "settings.py")
        until(lambda: server.get().text == "2", "the new settings")
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.processes(), "the end of what served")


@pytest.mark.parametrize("module", ["__mp_main__", "__main__"])
def test_an_application_in_the_script_is_the_new_one(module: str) -> None:
    """As NoneBot's handbook has it: nonebot.run(app="__mp_main__:app")."""
    script = (
        f"import uvicorn_worker\n{APP}\n"
        f"if __name__ == '__main__':\n    uvicorn_worker.run('{module}:app', port=0, reload=True)\n"
    )
    with Command(files={"main.py": script.replace("VERSION", "1")}, program=("main.py",)) as server:
        assert server.get().text == "version 1"
        save(server, script.replace("VERSION", "2"), "main.py")
        until(lambda: server.get().text == "version 2", "the new version")


def test_what_an_environment_file_says_is_new_in_a_new_interpreter() -> None:
    """It inherits the environment of the process that watches, which has read the file, too."""
    script = (
        "import uvicorn_worker, settings\n"
        "if __name__ == '__main__':\n    uvicorn_worker.run('app:app', port=0, reload=True, env_file='env')\n"
    )
    app = APP.replace("import asyncio", "import asyncio, os").replace('b"version VERSION"', "os.environ['X'].encode()")
    with Command(
        files={"main.py": script, "app.py": app, "settings.py": "", "env": "X=1\n"}, program=("main.py",)
    ) as server:
        assert server.get().text == "1"
        save(server, "X=2\n", "env")
        until(lambda: server.get().text == "2", "the new word")
