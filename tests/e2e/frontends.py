"""Proxies from the system's packages, before a gunicorn of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["haproxy", "nginx"]


@contextmanager
def nginx(directory: Path, config: str, listener: socket.socket | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """nginx; `{dir}` and `{user}` in `config` are filled in, and `{port}`: that of `listener`, which nginx inherits."""
    # The directory is readable by its owner only.
    user = "user root;" if os.geteuid() == 0 else ""
    env = {"NGINX": f"{listener.fileno()};"} if listener is not None else {}
    text = config.format(user=user, dir=directory, port=listener.getsockname()[1] if listener is not None else 0)
    (directory / "nginx.conf").write_text(text)
    arguments = ["-p", str(directory), "-c", "nginx.conf", "-g", "daemon off;"]
    with running("nginx", arguments, directory, listener, env) as process:
        yield process


@contextmanager
def haproxy(directory: Path, config: str, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """HAProxy; `{fd}` in `config` is the descriptor of `listener`, which it inherits, and `{dir}` the directory."""
    (directory / "haproxy.cfg").write_text(config.format(fd=listener.fileno(), dir=directory))
    with running("haproxy", ["-db", "-f", str(directory / "haproxy.cfg")], directory, listener, {}) as process:
        yield process


@contextmanager
def running(
    name: str, arguments: list[str], directory: Path, listener: socket.socket | None, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens at a socket that was made for it, so that nobody has to guess a free port."""
    program = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            pass_fds=[] if listener is None else [listener.fileno()],
            env={**os.environ, **env},
        )
    if listener is not None:
        # With its own copy a program that has ended would look like a slow one.
        listener.close()
    try:
        yield process
        assert process.poll() is None, (directory / f"{name}.log").read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)
