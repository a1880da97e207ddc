"""A page of the documentation, done as it says: files are written, commands typed, servers started.

Blocks with the title of a file are written to the folder of the page. Of the commands in console blocks, servers run on
until another one takes their place or the page ends; what is about other machines is read by the shell alone; all else
is run, and what the page shows below it must come, numbers aside. Ports are others than those that the page names.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.docs.blocks import ROOT, Block, Command, commands
from tests.docs.programs import certificate
from tests.e2e.harness import PATIENCE, control_socket_option, until
from tests.sockets import free_port

__all__ = ["Story"]

# Programs of machines that the tests don't have: the shell reads the line, and what it names must be there.
ELSEWHERE = {"docker", "fly", "gcloud", "heroku", "journalctl", "kubectl", "sudo", "systemctl", "systemd-analyze",
             "systemd-socket-activate"}  # fmt: skip
PORTS = re.compile(r"(?<![\d.])(8000|8001|8080|8443|5000|9464)(?!\d)")
INTERACTIVE = {"top"}
# An application for pages that have none of their own.
PROGRAMS = {"gunicorn": "-m gunicorn", "uvicorn-worker": "-m uvicorn_worker", "django-admin": "-m django", "python": "",
            "python3": ""}  # fmt: skip
APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Hello, world!"})
"""
# Folders of the machine that a service is installed on: here they are the folder of the page.
FOLDERS = re.compile(r"/(?:run|srv|var/lib|var/log)/shop(?=[/\s])")
WRAPPER = '#!/bin/sh\nexec "{python}" {what} "$@"\n'


class Story:
    """The folder and the processes of one page; use it as a context manager."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.dir = Path(tempfile.mkdtemp(prefix="page-"))  # short: a unix socket's path has 107 bytes
        self.ports: dict[str, str] = {}
        self.missing = False
        self.recipe = ""
        # The application of the page that no command has served yet.
        self.shown = ""
        self.server: subprocess.Popen[bytes] | None = None
        self.log = self.dir / ".log"
        self.env = self._environment()

    def __enter__(self) -> Story:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._end_daemons()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        tools = self.dir / ".bin"
        tools.mkdir()
        for name, what in PROGRAMS.items():
            (tools / name).write_text(WRAPPER.format(python=sys.executable, what=what))
            (tools / name).chmod(0o755)
        # What is installed is what is tested: nothing is fetched.
        (tools / "pip").write_text("#!/bin/sh\n")
        (tools / "pip").chmod(0o755)
        left_out = ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS")
        env = {name: value for name, value in os.environ.items() if name not in left_out}
        return env | {
            "PATH": os.pathsep.join([str(tools), os.environ.get("PATH", ""), "/usr/sbin"]),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "GUNICORN_CMD_ARGS": " ".join(control_socket_option()),
            "HOME": str(self.dir),
            "COLUMNS": "200",
            "no_proxy": "*",
        }

    # ------------------------------------------------------------------ blocks

    def tell(self, block: Block) -> None:
        """Do what a block says. A recipe begins with an empty folder."""
        if block.recipe and block.recipe != self.recipe:
            self.finish()
            self.stop()
            for path in self.dir.iterdir():
                if path.is_file() and path != self.log:
                    path.unlink()
        self.recipe = block.recipe
        if block.language == "console":
            for command in commands(block):
                if command.line.startswith("django-admin "):
                    self.missing = missing("import django")
                if not self.missing:
                    self.type(command, head="head" in block.classes)
        elif block.title and "/" not in block.title:
            # A framework that is not here: what is told of it is left out, up to the next file.
            self.missing = missing(block.text) if block.language == "python" else self.missing
            self.finish()
            (self.dir / block.title).write_text(self.moved(block.text))
            if (
                block.language == "python"
                and not self.missing
                and re.search(r"(?m)^(app = |async def app\()", block.text)
            ):
                self.shown = block.title.removesuffix(".py")
        elif block.language == "python" and re.search(r"(?m)^(asyncio|uvicorn)\.run\(|^Application\(", block.text):
            self.script(block)

    def finish(self) -> None:
        """An application that the page shows, and has no command for, is served too, and answers."""
        name, self.shown = self.shown, ""
        if name:
            self.serve(f"uvicorn-worker {name}:app --port {self.moved('8000')}")
            answer = self.run(
                f"curl --silent --output /dev/null --write-out '%{{http_code}}' {self.moved('http://127.0.0.1:8000/')}"
            )
            assert answer[0] in "234", f"{name}: {answer}\n{self._server_log()}"

    def moved(self, text: str) -> str:
        """`text` with the ports of this run."""

        def port(found: re.Match[str]) -> str:
            return self.ports.setdefault(found[1], str(free_port()))

        return FOLDERS.sub(str(self.dir), PORTS.sub(port, text))

    def script(self, block: Block) -> None:
        """A script that serves until it is told to stop."""
        (self.dir / "script.py").write_text(self.moved(block.text))
        self.app_for(block.text)
        port = int(self.ports["8000"])
        self.serve("python script.py", lambda: listens(port))
        self.run(f"curl --silent --fail http://127.0.0.1:{port}/")

    # ------------------------------------------------------------------ commands

    def type(self, command: Command, *, head: bool) -> None:
        """Run one command of the page as its first word wants it; compare what it shows (`head`: the first line)."""
        line = self.moved(command.line)
        words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
        program = Path(words[0]).name
        expected = [text for text in command.output if text.strip()][: 1 if head else None]
        if program in ELSEWHERE:
            self.elsewhere(words)
        elif program == "make":
            done = subprocess.run(
                ["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
        elif words[1:3] == ["-m", "venv"]:
            # What is installed is what is tested.
            (self.dir / words[3] / "bin").mkdir(parents=True)
            (self.dir / words[3] / "bin" / "activate").touch()
        elif program == "pip":
            self.install(words)
        elif program.startswith("python") and any(word.startswith("tests/") for word in words):
            missing = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
            assert not missing
        elif serves(words):
            self.app_for(line)
            self.shown = ""
            self.serve(self.bound(line, words))
            self.shows(expected, self._server_log, line)
        elif program == "uvicorn-worker" and words[1] in INTERACTIVE:
            self.run(f"uvicorn-worker {words[1]} --help")
        elif program == "nginx":
            self.nginx(line)
        else:
            if program == "uvicorn-worker" and words[1] in {"status", "dump"} and self.server is None:
                self.app_for("app:app")
                self.serve("gunicorn app:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:0")
            if words in (["uvicorn-worker", "status"], ["uvicorn-worker", "dump"]):
                # Others may run beside.
                line = f"{line} {self.master}"
            output = self.run(line)
            self.shows(expected, lambda: output, line)

    def elsewhere(self, words: list[str]) -> None:
        """Files of the repository that it names are there."""
        for word in words:
            assert not word.startswith(("examples/", "docs/")) or (ROOT / word).exists(), word

    def install(self, words: list[str]) -> None:
        """What is installed by path is this package, with extras that it has."""
        text = (ROOT / "pyproject.toml").read_text("utf-8")
        extras = text.partition("[project.optional-dependencies]")[2].partition("\n[tool")[0]
        for word in words[2:]:
            for extra in re.findall(r"\[([\w,-]+)\]", word) if "checkout" in word else ():
                assert all(f"\n{name} = [" in extras for name in extra.split(",")), word

    def nginx(self, line: str) -> None:
        """Run as the page says; as root it needs to be told whom its workers are to be."""
        if os.geteuid() == 0 and " -s " not in line:
            line += " -g 'user root;'"
        self.run(line)

    def bound(self, line: str, words: list[str]) -> str:
        """The command with a port of this run where it would take 8000."""
        config = self.dir / "gunicorn.conf.py"
        configured = "-c" in words or (config.exists() and "bind" in config.read_text())
        bare = not {"-b", "--bind", "--port", "--uds", "--fd"} & set(words) and not configured
        option = "--port " if Path(words[0]).name == "uvicorn-worker" else "--bind 127.0.0.1:"
        return line + self.moved(f" {option}8000") if bare else line

    def app_for(self, text: str) -> None:
        """An application where the page has shown none, and a certificate where it has one."""
        if "cert.pem" in text and not (self.dir / "cert.pem").exists():
            both = certificate(self.dir)
            shutil.copy(both, self.dir / "cert.pem")
            shutil.copy(both, self.dir / "key.pem")
        for module in re.findall(r"\b(app|main):\w+", text):
            if not (self.dir / f"{module}.py").exists():
                (self.dir / f"{module}.py").write_text(APP)

    def run(self, line: str) -> str:
        """What a command writes; it must succeed."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.dir,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}\n{self._server_log()}"
        return done.stdout + done.stderr

    def shows(self, expected: list[str], read: Callable[[], str], line: str) -> None:
        """The lines that the page shows come, in their order; numbers may be others."""
        pattern = re.compile(r"[\s\S]*?".join(gist(self.moved(text)) for text in expected))
        try:
            # What a server writes may be on its way; what a command has written is there.
            until(lambda: pattern.search(read()), "what the page shows", PATIENCE if read == self._server_log else 0)
        except AssertionError:
            raise AssertionError(f"{line}\n{read()}\nis not what {self.page} shows:\n" + "\n".join(expected)) from None

    # ------------------------------------------------------------------ servers

    def spawn(self, line: str, log: Path, *, start_new_session: bool = False) -> subprocess.Popen[bytes]:
        """A program that goes on, and what it writes goes to `log`."""
        with log.open("wb") as output:
            return subprocess.Popen(
                ["bash", "-c", f"exec env {line}"],
                cwd=self.dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=start_new_session,
            )

    def serve(self, line: str, ready: Callable[[], bool] | None = None) -> None:
        """Start a server in the place of the last one, and wait until all of it serves, or until it is `ready`."""
        self.stop()
        (self.dir / "error.log").unlink(missing_ok=True)
        self.server = self.spawn(line, self.log, start_new_session=True)
        ready = ready or (lambda: "Ready in" in self._server_log())
        until(lambda: ready() or self._failed(), f"{line} to serve")
        assert ready(), f"{line}\n{self._server_log()}"

    def _failed(self) -> bool:
        """Whether it has ended, and not gone on as a daemon."""
        return self.server is not None and bool(self.server.poll())

    @property
    def master(self) -> int:
        """The process id of the server."""
        assert self.server is not None
        return self.server.pid

    def _server_log(self) -> str:
        """What it has written to the terminal, and as a daemon."""
        return "".join(path.read_text(errors="replace") for path in (self.log, self.dir / "error.log") if path.exists())

    def stop(self) -> None:
        """TERM to the server of the page, and its end."""
        if self.server is None:
            return
        server, self.server = self.server, None
        with suppress(ProcessLookupError):
            server.send_signal(signal.SIGTERM)
        try:
            server.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def _end_daemons(self) -> None:
        """What has left the terminal, as nginx does, has a pidfile."""
        for pidfile in self.dir.glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pidfile.read_text()), signal.SIGTERM)


def serves(words: list[str]) -> bool:
    """Whether a command goes on until it is stopped."""
    program, rest = Path(words[0]).name, words[1:]
    if program == "uvicorn-worker" and rest[:1] and rest[0] in {"status", "dump", "top"}:
        return False
    ends = ("--check-config", "--print-", "--show-completion", "--version", "--help")
    if any(word.startswith(ends) for word in rest):
        return False
    return program in {"gunicorn", "uvicorn-worker"} or rest[:2] in (["-m", "gunicorn"], ["-m", "uvicorn_worker"],
                                                                    ["-m", "uvicorn_worker.master"])  # fmt: skip


def gist(text: str) -> str:
    """A pattern for a line: words as they are, blanks and numbers as they come, `...` for anything."""
    pieces = re.split(r"(\.\.\.|\d[\d.,:]*(?:ms|[smhMG])?\b|\s+)", text.strip())
    patterns = {"...": r".*"}
    out = []
    for at, piece in enumerate(pieces):
        if at % 2 == 0:
            out.append(re.escape(piece))
        elif piece.isspace():
            out.append(r"\s+")
        else:
            out.append(patterns.get(piece, r"\d[\d.,:]*(?:ms|[smhMG])?"))
    return "".join(out)


def missing(text: str) -> bool:
    """Whether a file imports what is not installed."""
    tree = ast.parse(text)
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return any(importlib.util.find_spec(name.partition(".")[0]) is None for name in names)


def listens(port: int) -> bool:
    """Whether somebody takes connections at a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
