"""Who has an address: a process and its command."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from uvicorn_worker.server import occupant as module
from uvicorn_worker.server.occupant import occupant

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells")


def test_a_port_is_that_of_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert occupant(port).startswith(f"process {os.getpid()} (")
        assert len(occupant(port)) < 100
    assert occupant(port) == ""


def test_a_path_is_that_of_its_process(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert occupant(path=path) == ""
        sock.listen()
        assert occupant(path=path).startswith(f"process {os.getpid()} (")


def test_where_the_kernel_tells_nothing_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROC", tmp_path)
    assert occupant(1) == ""
    (tmp_path / "net").mkdir()
    line = f"  0: 0100007F:{1:04X} 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n"
    (tmp_path / "net" / "tcp").write_text("head\n" + line)
    assert occupant(1) == ""
    for pid, link in (("12", "pipe:[1]"), ("13", "socket:[77]"), ("14", "")):
        (tmp_path / pid / "fd").mkdir(parents=True)
        if link:
            (tmp_path / pid / "fd" / "3").symlink_to(link)
    (tmp_path / "11").mkdir()
    (tmp_path / "13" / "fd" / "2").write_text("no link")
    assert occupant(1) == "process 13"
    (tmp_path / "13" / "cmdline").write_bytes(b"python\0\x1b[31m\0" + b"x" * 100)
    found = occupant(1)
    assert found.startswith("process 13 (python ?[31m xxx")
    assert found.endswith("...)")
