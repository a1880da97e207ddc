"""`ChangeReload` and `Multiprocess`, as programs use them that serve by a Server of their own."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from tests.names import PLAUSIBLE, names_of, not_own
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import STARTUP_FAILURE
from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import handled
from uvicorn_worker.supervisors import ChangeReload, Multiprocess, child
from uvicorn_worker.supervisors.multiprocess import Process
from uvicorn_worker.supervisors.statreload import StatReload
from uvicorn_worker.supervisors.watchfilesreload import FileFilter, WatchFilesReload

PATIENCE = 30.0
PROGRAM = """
import os, sys
from pathlib import Path
from uvicorn_worker import Config, Server
from uvicorn_worker._subprocess import get_subprocess
from uvicorn_worker.supervisors import BaseReload, ChangeReload, Multiprocess
from uvicorn_worker.supervisors.multiprocess import Process
from uvicorn_worker.supervisors.statreload import StatReload

class Telling(Config):
    word = ""
    def load(self):
        super().load()
        self.loaded_app.app.word = f"loaded-{self.word}"

class Mine(Server):
    def run(self, sockets=None):
        os.environ["WORD"] = self.config.word
        super().run(sockets=sockets)

class Watched(ChangeReload):
    # A process that ends by itself is replaced, too.

    def startup(self):
        super().startup()
        print("begun by", self.reloader_name, flush=True)

    def should_restart(self):
        changed = super().should_restart()
        return changed or (None if self.process.is_alive() else [Path("it")])

    def restart(self):
        print("anew", flush=True)
        super().restart()

    def shutdown(self):
        super().shutdown()
        print("ended with", self.process.exitcode, flush=True)

class Starting(BaseReload):
    # Processes are its own.

    def startup(self):
        self.process = get_subprocess(config=self.config, target=self.target, sockets=self.sockets)
        self.process.start()

    def restart(self):
        self.process.terminate()
        self.process.join()
        print("anew", flush=True)
        self.startup()

class Wider(StatReload):
    # Another file counts, too.

    def iter_py_files(self):
        yield Path("gone.txt")
        yield Path("more.txt").absolute()
        yield from super().iter_py_files()

class Numbered(Multiprocess):
    # Each is told its number, and another signal does nothing.

    def init_processes(self):
        for number in range(self.processes_num):
            os.environ["WORD"] = f"number-{number}"
            process = Process(self.config, sockets=self.sockets)
            process.start()
            self.processes.append(process)

    def handle_hup(self):
        print("is left", all(each.is_alive(timeout=5) for each in self.processes), flush=True)

if __name__ == "__main__":
    kind, app, workers = sys.argv[1:]
    reload = kind in ("reload", "watched", "starting", "wider")
    config = Telling(app, host="127.0.0.1", port=0, reload=reload, workers=int(workers), log_level="info")
    config.word = "mine"
    sock = config.bind_socket()
    print("port", sock.getsockname()[1], flush=True)
    server = Mine(config)
    if kind == "reload":
        ChangeReload(config, target=server.run, sockets=[sock]).run()
    elif kind == "watched":
        Watched(config, target=server.run, sockets=[sock]).run()
    elif kind == "starting":
        Starting(config, target=server.run, sockets=[sock]).run()
    elif kind == "wider":
        Wider(config, target=server.run, sockets=[sock]).run()
    elif kind == "numbered":
        Numbered(config, sockets=[sock]).run()
    elif kind == "old":
        Multiprocess(config, target=server.run, sockets=[sock]).run()
    else:
        Multiprocess(config, [sock]).run()
    print("ended", flush=True)
"""
APP = """
import os
def say(word):
    # In one piece, as others write to the same file: an unbuffered print() writes several.
    os.write(1, f"{word} {os.getpid()}\\n".encode())
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        say(getattr(app, "word", None))
        say("serves")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("leaves")
        await send({"type": "lifespan.shutdown.complete"})
    else:
        word = os.environ.get("WORD") or getattr(app, "word", None)
        body = f"1 {os.getpid()} {word}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})
"""


class Program:
    def __init__(self, folder: Path, kind: str, app: str, workers: int) -> None:
        (folder / "program.py").write_text(PROGRAM)
        self.log = folder / "log"
        env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"}
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "program.py", kind, app, str(workers)],
                cwd=folder,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def says(self, words: str) -> str:
        end = time.monotonic() + PATIENCE
        while words not in (text := self.log.read_text()):
            assert time.monotonic() < end, text
            time.sleep(0.02)
        return text

    def ask(self) -> list[str]:
        port = int(self.says("port ").partition("port ")[2].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/")
        answer = connection.getresponse().read().decode().split()
        connection.close()
        return answer

    def until(self, *expected: str) -> list[str]:
        """The first answer with these words, which another process gives some time."""
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.ask()
                if set(expected) <= set(answer):
                    return answer
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def pids(self, word: str, number: int) -> list[str]:
        """Of the processes that have said so; as soon as there are so many."""
        end = time.monotonic() + PATIENCE
        while len(found := re.findall(rf"^{word} (\d+)$", self.log.read_text(), re.MULTILINE)) < number:
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return found

    def stop(self, sig: signal.Signals = signal.SIGINT) -> str:
        self.process.send_signal(sig)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        return self.log.read_text()


@contextlib.contextmanager
def running(folder: Path, kind: str, app: str = "main:app", workers: int = 1) -> Iterator[Program]:
    (folder / "main.py").write_text(APP)
    program = Program(folder, kind, app, workers)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.terminate()
            program.process.wait(PATIENCE)


def test_it_is_reloaded(tmp_path: Path) -> None:
    with running(tmp_path, "reload") as program:
        _, pid, word = program.until("1")
        assert word == "mine"
        program.says("Started reloader process")
        (tmp_path / "main.py").write_text(APP.replace('f"1 ', 'f"2 '))
        assert program.until("2")[1] != pid
        text = program.stop(signal.SIGTERM)
        assert "detected changes in 'main.py'. Reloading..." in text
        assert "Stopping reloader process" in text
        assert text.rstrip().endswith("ended")


def test_a_subclass_writes_the_steps_anew(tmp_path: Path) -> None:
    with running(tmp_path, "watched") as program:
        _, pid, word = program.until("1")
        assert word == "mine"
        os.kill(int(pid), signal.SIGKILL)
        program.says("anew")
        assert program.until("1")[1] != pid
        (tmp_path / "main.py").write_text(APP.replace('f"1 ', 'f"2 '))
        assert program.until("2")[2] == "mine"
        text = program.stop(signal.SIGTERM)
        assert re.search(r"^begun by (WatchFiles|StatReload)$", text, re.MULTILINE)
        assert text.count("anew") == 2
        assert re.search(r"^ended with (0|-15)\nended$", text, re.MULTILINE)


def test_a_subclass_starts_the_process_itself(tmp_path: Path) -> None:
    with running(tmp_path, "starting") as program:
        _, pid, word = program.until("1")
        assert word == "mine"
        (tmp_path / "main.py").write_text(APP.replace('f"1 ', 'f"2 '))
        assert program.until("2")[1] != pid
        text = program.stop()
        assert text.count("anew") == 1
        assert "Traceback" not in text


def test_a_file_in_place_of_a_folder_is_watched(tmp_path: Path) -> None:
    folder, file = tmp_path / "app", tmp_path / "rxconfig.py"
    folder.mkdir()
    (folder / "main.py").write_text("")
    file.write_text("")
    config = Config("main:app", reload=True, reload_dirs=[str(folder), str(file)], reload_delay=0.01)
    watching = StatReload(config, lambda sockets: None, [])
    assert set(watching.iter_py_files()) == {folder / "main.py", file}
    assert watching.should_restart() is None
    os.utime(file, (time.time() + 5, time.time() + 5))
    assert watching.should_restart() == [file]


def test_a_subclass_says_which_files_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("1")
    with running(tmp_path, "wider") as program:
        _, pid, _ = program.until("1")
        text = program.says("Started reloader process")
        assert "using StatReload" in text
        assert "Will watch for changes in these directories" in text
        for name in ("more.txt", "main.py"):
            changed, end = time.time() + 5, time.monotonic() + PATIENCE
            while f"StatReload detected changes in '{name}'. Reloading..." not in program.log.read_text():
                # Until it has looked once, what is there is what was there before.
                assert time.monotonic() < end
                changed += 1
                os.utime(tmp_path / name, (changed, changed))
                time.sleep(0.1)
        assert program.until("1")[1] != pid
        assert "Traceback" not in program.stop()


@pytest.mark.parametrize(("kind", "word"), [("old", "mine"), ("new", "loaded-mine")])
def test_several_processes_serve(tmp_path: Path, kind: str, word: str) -> None:
    with running(tmp_path, kind, workers=2) as program:
        assert program.until("1")[2] == word
        first, second = program.pids("serves", 2)
        os.kill(int(first), signal.SIGKILL)
        program.says("died")
        third = program.pids("serves", 3)[2]
        program.process.send_signal(signal.SIGTTOU)
        assert program.pids("leaves", 1)[0] in (second, third)
        program.process.send_signal(signal.SIGTTIN)
        fourth = program.pids("serves", 4)[3]
        program.process.send_signal(signal.SIGHUP)
        assert set(program.pids("leaves", 3)) == {second, third, fourth}
        program.says("Received SIGHUP, restarting processes.")
        assert program.pids("serves", 6)
        assert program.until("1")[2] == word
        text = program.stop()
        assert len(program.pids("leaves", 5)) == 5
        assert "Received SIGINT, exiting." in text
        assert "Traceback" not in text


def test_what_can_not_start_takes_the_place_of_none(tmp_path: Path) -> None:
    """HUP to an application that was broken meanwhile: the processes serve on, and a HUP later all are replaced."""
    with running(tmp_path, "new", workers=2) as program:
        before = set(program.pids("serves", 2))
        (tmp_path / "main.py").write_text("raise RuntimeError('broken')\n")
        program.process.send_signal(signal.SIGHUP)
        program.says("is kept.")
        assert program.ask()[1] in before
        (tmp_path / "main.py").write_text(APP)
        program.process.send_signal(signal.SIGHUP)
        assert set(program.pids("leaves", 2)) == before
        assert program.until("1")[1] not in before
        # Each served before the one left whose place it took.
        said = re.findall(r"^(serves|leaves) \d+$", program.stop(), re.MULTILINE)
        assert said[:6] == ["serves"] * 2 + ["serves", "leaves"] * 2


def test_one_that_does_not_come_up_holds_up_no_end(tmp_path: Path) -> None:
    with running(tmp_path, "new") as program:
        program.pids("serves", 1)
        (tmp_path / "main.py").write_text("import time\nprint('stuck', flush=True)\ntime.sleep(600)\n")
        program.process.send_signal(signal.SIGHUP)
        program.says("stuck")
        text = program.stop(signal.SIGTERM)
        assert "is kept." not in text
        assert len(program.pids("leaves", 1)) == 1


def test_a_subclass_starts_the_processes_itself(tmp_path: Path) -> None:
    with running(tmp_path, "numbered", workers=2) as program:
        program.until("number-0")
        program.until("number-1")
        program.process.send_signal(signal.SIGHUP)
        program.says("is left True")
        program.process.send_signal(signal.SIGTTOU)
        program.pids("leaves", 1)
        program.process.send_signal(signal.SIGTTOU)
        text = program.stop(signal.SIGTERM)
        assert len(program.pids("leaves", 2)) == 2
        assert "Received SIGTERM, exiting." in text


@pytest.mark.parametrize("app", ["nowhere:app", "broken:app"])
def test_there_is_no_loop_of_processes_that_can_not_start(tmp_path: Path, app: str) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken')\n")
    with running(tmp_path, "old", app) as program:
        assert program.process.wait(PATIENCE) == 0
        text = program.log.read_text()
        assert "failed to start, stopping the parent process." in text
        assert text.count("RuntimeError: broken") in (0, 3)


def test_a_socket_that_is_bound_waits(tmp_path: Path) -> None:
    """A client that comes before the first process serves is not refused."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\n" + APP)
    with running(tmp_path, "reload", "slow:app") as program:
        program.says("Started reloader process")
        port = int(program.says("port ").partition("port ")[2].split()[0])
        end = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", port)):
                    break
            assert time.monotonic() < end
        assert program.ask()[0] == "1"
        program.stop()


@pytest.fixture(autouse=True, scope="module")
def _tracker() -> Iterator[None]:
    """The process that multiprocessing starts for its own needs ends with the tests, and not some time later."""
    yield
    tracker: Any = resource_tracker
    tracker._resource_tracker._stop()


def idle(sockets: object = None) -> None:
    """A target that does not heed SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"idles")
    time.sleep(PATIENCE)


def interrupted(sockets: Any = None, frame: Any = None) -> None:
    """As after Ctrl+C, which all processes of a terminal get."""
    raise KeyboardInterrupt


class Told(Config):
    """Says when logging is set up."""

    def configure_logging(self) -> None:
        os.write(1, b"set up ")


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    """Its startup fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})


class Looks(ChangeReload):
    """Looks by itself, once, and ends in its second look."""

    def __init__(self, config: Config, sockets: list[Any]) -> None:
        super().__init__(config, interrupted, sockets)
        self.looks = 0

    def should_restart(self) -> list[Path] | None:
        self.pause()
        self.looks += 1
        return [Path("changed.py")]

    def restart(self) -> None:
        self.process.kill()
        self.should_exit.set()


def test_one_that_looks_by_itself_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config("main:app", port=0, log_config=None, reload_delay=0.01)
    sock = config.bind_socket()
    reloader = Looks(config, [sock])
    with caplog.at_level("INFO", "uvicorn.error"):
        thread = threading.Thread(target=reloader.run)
        thread.start()
        thread.join(PATIENCE)
    assert reloader.looks == 1
    assert not reloader.process.is_alive()
    assert sock.fileno() == -1
    assert "detected changes in 'changed.py'. Reloading..." in caplog.text


class Hashes(WatchFilesReload):
    """Asks what the supervisor has, as programs do that restart for other contents alone."""

    def __init__(self, config: Config, sockets: list[Any]) -> None:
        super().__init__(config, interrupted, sockets)
        self.seen = {file for folder in self.reload_dirs for file in folder.rglob("*") if self.watch_filter(file)}
        self.told: list[tuple[Any, str]] = []

    def should_restart(self) -> list[Path] | None:
        assert self.watcher is not None
        self.told += [each for each in next(self.watcher) if self.watch_filter(Path(each[1]))]
        if len({path for _, path in self.told}) > 1:
            self.should_exit.set()
        return None


class Pauses(WatchFilesReload):
    """Ends where it pauses; watches what it says, by a filter of its own."""

    def __init__(self, config: Config, watcher: Iterator[set[tuple[Any, str]]] | None) -> None:
        super().__init__(config, interrupted, [])
        self.watcher = watcher
        self.watch_filter = lambda path: path.suffix == ".html"
        self.restarts: list[Path] = []
        self.ends = False

    def pause(self) -> None:
        if self.ends:
            raise StopIteration

    def should_restart(self) -> list[Path] | None:
        changed = super().should_restart()
        self.restarts += changed or ()
        self.ends = bool(changed)
        return None


def test_a_filter_that_is_changed(tmp_path: Path) -> None:
    """As by reloaders that leave out what is written while they run."""
    (tmp_path / "data").mkdir()
    config = Config("app:app", reload=True, reload_excludes=[str(tmp_path / "data"), "*_pb2.py"])
    assert config.reload_dirs_excludes == [tmp_path / "data"]
    choice = FileFilter(config)
    assert (choice.exclude_dirs, choice.includes, choice.excludes[-1]) == ([tmp_path / "data"], ["*.py"], "*_pb2.py")
    assert choice(tmp_path / "made.py")
    choice.excludes.append("made*")
    choice.includes.append("*.sql")
    assert (choice(tmp_path / "made.py"), choice(tmp_path / "one.sql")) == (False, True)


def test_what_it_watches_by_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("one.py", "two.py", "data/three.py", "four.txt"):
        (tmp_path / name).write_text("")
    config = Config("main:app", port=0, reload=True, log_config=None, reload_delay=0.01)
    config.reload_excludes.append("data")
    reloader = Hashes(config, [])
    assert reloader.seen == {tmp_path / "one.py", tmp_path / "two.py"}
    assert FileFilter(config)(tmp_path / "one.py")
    assert not FileFilter(config)(tmp_path / "data" / "three.py")
    thread = threading.Thread(target=reloader.run)
    thread.start()
    end, number = time.monotonic() + PATIENCE, 0
    (tmp_path / "two.py").unlink()
    while thread.is_alive() and time.monotonic() < end:
        number += 1
        (tmp_path / "one.py").write_text("1" * number)
        (tmp_path / "two.py").write_text("") if number % 2 else (tmp_path / "two.py").unlink()
        (tmp_path / "data" / "three.py").write_text("1" * number)
        time.sleep(0.1)
    thread.join(PATIENCE)
    assert {Path(path).name for _, path in reloader.told} == {"one.py", "two.py"}
    # watchfiles.Change.modified, watchfiles.Change.deleted
    assert {kind for kind, _ in reloader.told} <= {2, 3}


@pytest.mark.parametrize("watches", [True, False])
def test_a_filter_and_what_watches_can_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watches: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    page, end = tmp_path / "page.html", time.monotonic() + PATIENCE
    page.write_text("")
    config = Config("main:app", port=0, reload=True, log_config=None, reload_delay=0.01)
    theirs = iter([{(1, str(tmp_path / "main.py"))}, {(1, str(page))}])
    reloader = Pauses(config, None if watches else theirs)
    thread = threading.Thread(target=reloader.run)
    thread.start()
    number = 0
    while watches and thread.is_alive() and time.monotonic() < end:
        number += 1
        page.write_text("1" * number)
        (tmp_path / "main.py").write_text("1" * number)
        time.sleep(0.1)
    thread.join(PATIENCE)
    assert set(reloader.restarts) == {page}


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(child, "_STOP_SECONDS", 0.1)
    monkeypatch.setattr(sys, "stdin", None)
    one = child.Process(Config("main:app", log_config=None), idle, [])
    assert not one.is_alive()
    assert one.start() is one
    assert one.is_alive()
    assert one.pid is not None
    end = time.monotonic() + PATIENCE
    while "idles" not in capfd.readouterr().out:
        assert time.monotonic() < end
    one.terminate()
    one.join()
    assert one.exitcode == -signal.SIGKILL
    one.terminate()


@pytest.mark.parametrize(("target", "code"), [(interrupted, 0), (None, STARTUP_FAILURE)])
def test_what_a_process_ends_with(target: child.Target | None, code: int) -> None:
    config = Config(f"{__name__}:refuses", port=0, log_config=None)
    sock = config.bind_socket()
    given: tuple[Any, ...] = ([sock],) if target is None else (target, [sock])
    one = child.Process(config, *given).start()
    one.join()
    sock.close()
    assert one.exitcode == code


def test_one_that_was_not_told_to_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Programs have one, and nothing else to do until it has ended."""
    monkeypatch.setattr(child, "_STOP_SECONDS", 0.0)
    one = child.Process(Config("main:app", log_config=None), interrupted, [])
    one.start().join()
    assert one.exitcode == 0


class Greets(child.Process):
    """As where each process has something to do before it serves."""

    def target(self, sockets: Any = None) -> None:
        os.write(1, b"greets ")
        threading.Thread(target=self.always_pong, daemon=True).start()
        super().target(sockets)


def test_a_target_can_be_a_step_of_a_subclass(capfd: pytest.CaptureFixture[str]) -> None:
    config = Config(f"{__name__}:refuses", port=0, log_config=None)
    sock = config.bind_socket()
    one = Greets(config, [sock])
    one.start().join()
    sock.close()
    assert "greets " in capfd.readouterr().out
    assert one.exitcode == STARTUP_FAILURE
    assert not one.ping(timeout=5)
    assert not one.is_ready(timeout=5)
    assert not one.wait_until_ready(5)


def test_one_can_be_killed() -> None:
    one = child.Process(Config("main:app", log_config=None), idle)
    one.start()
    one.kill()
    one.join()
    assert one.exitcode == -signal.SIGKILL


def test_logging_is_set_up_once_in_each_process(capfd: pytest.CaptureFixture[str]) -> None:
    config = Told(f"{__name__}:refuses", port=0, log_config=None)
    sock = config.bind_socket()
    capfd.readouterr()
    child.Process(config, sockets=[sock]).start().join()
    sock.close()
    assert capfd.readouterr().out.count("set up ") == 1


def test_signals_are_as_before() -> None:
    before: Any = signal.getsignal(signal.SIGUSR2)
    with handled({signal.SIGUSR2: interrupted}):
        now: Any = signal.getsignal(signal.SIGUSR2)
    assert now is interrupted
    assert signal.getsignal(signal.SIGUSR2) is before


def test_an_end_that_was_asked_for_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config("main:app", log_config=None, workers=2)
    for supervisor in (ChangeReload(config, interrupted, []), Multiprocess(config, interrupted)):
        supervisor.should_exit.set()
        supervisor.run()


def test_elsewhere_than_in_the_main_thread_it_is_told_by_its_queue() -> None:
    """As with uvicorn, whose tests and whose Windows hand signals over so."""
    seen: list[str] = []

    class Telling(Multiprocess):
        def init_processes(self) -> None:
            seen.append("begun")

        def restart_all(self) -> None:
            seen.append("restarted")

    supervisor = Telling(Config("main:app", port=0, log_config=None))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    supervisor.signal_queue += [signal.SIGHUP, int(signal.SIGTERM)]
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert seen == ["begun", "restarted"]


# What uvicorn's supervisors have, and what of ours is told in their texts.
SUPERVISORS = {
    ChangeReload: {
        "config", "is_restarting", "pause", "pid", "process", "reload_dirs", "reloader_name", "restart", "run",
        "should_exit", "should_restart", "shutdown", "signal_handler", "sockets", "startup", "target", "watch_filter",
        "watcher",
    },
    Multiprocess: {
        "config", "init_processes", "join_all", "keep_subprocess_alive", "processes", "processes_num", "restart_all",
        "run", "should_exit", "signal_queue", "sockets", "target", "terminate_all",
    },
    Process: {
        "always_pong", "config", "exitcode", "is_alive", "is_ready", "join", "kill", "pid", "ping", "pong", "process",
        "server", "start", "target", "terminate", "wait_until_ready",
    },
}  # fmt: skip


def test_every_name_that_is_not_uvicorns_is_plainly_ours() -> None:
    for kind, names in SUPERVISORS.items():
        found = {name for name in names_of(kind) if not name.startswith("handle_")}
        assert not_own(found - names) == []
        assert names - found == set()
    assert not_own(names_of(StatReload) - SUPERVISORS[ChangeReload] - {"iter_py_files", "mtimes"}) == []


@pytest.mark.parametrize("kind", [ChangeReload, Multiprocess])
def test_a_subclass_has_names_of_its_own(kind: Any) -> None:
    names = [name for name in PLAUSIBLE if name != "target"]
    taken = SUPERVISORS[kind]

    def refuses(*args: object) -> Any:
        raise AssertionError("it was called")

    own: dict[str, Any] = {name: refuses for name in names if name not in taken}
    supervisor = type("Mine", (kind,), own)(Config("main:app", log_config=None, workers=0), interrupted, [])
    supervisor.should_exit.set()
    supervisor.run()


def test_a_subclass_hears_signals_that_do_nothing_else() -> None:
    seen: list[str] = []

    class Hears(Multiprocess):
        def init_processes(self) -> None:
            for sig in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGQUIT):
                signal.raise_signal(sig)
            signal.raise_signal(signal.SIGTERM)

        def handle_usr1(self) -> None:
            seen.append("usr1")

    Hears(Config("main:app", port=0, log_config=None)).run()
    assert seen == ["usr1"]
