"""Proxies from the system's packages, before a gunicorn of the tests."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.harness import PATIENCE, until
from tests.programs import need

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["haproxy", "nginx", "nginx_user", "running", "temporary_paths"]

_NGINX = """
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {paths}
    {http}
}}
"""


def nginx_user() -> str:
    """The directive that lets nginx's workers read a directory which only its owner may read."""
    return "user root;" if os.geteuid() == 0 else ""


def temporary_paths(directory: Path) -> str:
    """Directives without which nginx would write to folders of the machine."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


@contextmanager
def nginx(
    directory: Path, http: str, listener: socket.socket | None = None, *, port: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """nginx with the directives `http`, of which `{dir}` and `{port}` are filled in.

    The port is that of `listener`, which nginx inherits. Where it listens at `{dir}/front.sock`, it does so on return.
    """
    env = {}
    if listener is not None:
        env["NGINX"] = f"{listener.fileno()};"
        port = listener.getsockname()[1]
    paths, filled = temporary_paths(directory), http.format(dir=directory, port=port)
    text = _NGINX.format(user=nginx_user(), dir=directory, paths=paths, http=filled)
    (directory / "nginx.conf").write_text(text)
    arguments = ["-p", str(directory), "-c", "nginx.conf", "-g", "daemon off;"]
    front = directory / "front.sock" if "front.sock" in http else None
    with running("nginx", arguments, directory, listener=listener, env=env, front=front) as process:
        yield process


@contextmanager
def haproxy(
    directory: Path, config: str, listener: socket.socket | None = None, *, port: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """HAProxy; `{fd}` in `config` is the descriptor of `listener`, which it inherits; `{dir}` and `{port}` as above."""
    fd = -1 if listener is None else listener.fileno()
    (directory / "haproxy.cfg").write_text(config.format(fd=fd, dir=directory, port=port))
    arguments = ["-db", "-f", str(directory / "haproxy.cfg")]
    front = directory / "front.sock" if "front.sock" in config else None
    with running("haproxy", arguments, directory, listener=listener, front=front) as process:
        yield process


def _listens(path: Path) -> bool:
    """Whether somebody takes connections at the unix socket `path`: its file is there before they do."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def running(
    name: str,
    arguments: list[str],
    directory: Path,
    *,
    listener: socket.socket | None = None,
    env: dict[str, str] | None = None,
    front: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has ended with the block, its output in `directory`; the test is skipped without it.

    It inherits `listener`, so that nobody has to guess a free port; or it is waited for at the unix socket `front`.
    """
    program = need(name)
    if front is not None:
        # One that has ended may have left it.
        front.unlink(missing_ok=True)
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            pass_fds=[] if listener is None else [listener.fileno()],
            env={**os.environ, **(env or {})},
        )
    if listener is not None:
        # With its own copy a program that has ended would look like a slow one.
        listener.close()
    try:
        if front is not None:
            until(lambda: _listens(front) or process.poll() is not None, name)
        yield process
        assert process.poll() is None, (directory / f"{name}.log").read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)
