"""The command `uvicorn-worker` for a test: started in a folder of its own, watched through what it writes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx

from tests.e2e.harness import PATIENCE, alive, until

__all__ = ["APP", "SLOW", "Command"]

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("startup", flush=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b"version VERSION"})
"""

# Asked for /slow, it takes its time, and says so.
SLOW = APP.replace(
    '        await send({"type": "http.response.start"',
    '        if scope["path"] == "/slow":\n            print("slow", flush=True)\n            await asyncio.sleep(60)\n'
    '        await send({"type": "http.response.start"',
    1,
)

# As in tests/e2e/harness.py: whoever starts the tests may have had signals ignored.
_LAUNCH = """
import os, signal, sys
for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
_NOT_INHERITED = ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "SENDFILE")


class Command:
    """`python -m uvicorn_worker` with `arguments`; `files` are written to its folder before."""

    live: list[Command] = []  # noqa: RUF012 - shared on purpose: what is running when a test fails

    def __init__(
        self,
        *arguments: str,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "uvicorn_worker"),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="e2e-"))
        for name, text in ({"app.py": APP} if files is None else files).items():
            (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
            (self.dir / name).write_text(text)
        root = str(Path(__file__).parents[3])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in _NOT_INHERITED and not name.startswith("UVICORN_")
        }
        self.token = uuid.uuid4().hex
        more = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "E2E_RUN": self.token}
        # No bytecode: a file that is changed twice in a second would be taken for what it was.
        more["PYTHONDONTWRITEBYTECODE"] = "1"
        self.env = {**inherited, **more, **(env or {})}
        self.arguments = [*program, *arguments]
        self.pass_fds = pass_fds
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Command:
        with (self.dir / "out").open("wb") as out, (self.dir / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", _LAUNCH, *self.arguments],
                cwd=self.dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=self.pass_fds,
            )
        self.live.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        assert self.process is not None
        self.live.remove(self)
        if value is not None:
            sys.stderr.write(self.log)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def processes(self) -> list[int]:
        """All that runs and descends from this start."""
        marker = f"E2E_RUN={self.token}".encode()
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and marker in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
            except OSError:
                continue
        return [pid for pid in found if alive(pid)]

    @property
    def log(self) -> str:
        """Stderr so far."""
        return (self.dir / "err").read_text(errors="replace")

    @property
    def out(self) -> str:
        """Stdout so far."""
        return (self.dir / "out").read_text(errors="replace")

    def wait_log(self, pattern: str, count: int = 1) -> str:
        """Wait until stderr has so many matches; the last of them."""

        def found() -> str | None:
            assert self.process is not None
            matches = [match[0] for match in re.finditer(pattern, self.log)]
            assert len(matches) >= count or self.process.poll() is None, self.log
            return matches[-1] if len(matches) >= count else None

        return until(found, f"{pattern!r} in the log")

    @property
    def port(self) -> int:
        """The port that was chosen."""
        return int(self.wait_log(r"(?<=://127\.0\.0\.1:)\d+"))

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str = "/") -> httpx.Response:
        """One GET on a connection of its own."""
        with httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False) as client:
            return client.get(path, headers={"connection": "close"})

    def status(self, pid: int) -> tuple[int, str]:
        """Exit code and text of `uvicorn-worker status` of a process."""
        line = [sys.executable, "-m", "uvicorn_worker", "status", str(pid)]
        done = subprocess.run(line, env=self.env, capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
        return done.returncode, done.stdout + done.stderr

    def signal(self, signum: signal.Signals) -> None:
        """To the process that was started."""
        assert self.process is not None
        self.process.send_signal(signum)

    @property
    def pid(self) -> int:
        """That of the process that was started."""
        assert self.process is not None
        return self.process.pid

    def wait_exit(self) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE)
