"""The servers that benchmarks start."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("benchmarks.run", reason="benchmarks/ is not here")

from benchmarks.processes import RunningServer
from benchmarks.scenarios import RAW
from benchmarks.servers import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as are the benchmarks")

ENVIRONMENT: Any = SimpleNamespace(bin="")


def state(running: RunningServer) -> str:
    stat = Path(f"/proc/{running.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def until_halted(running: RunningServer, *, halted: bool) -> None:
    deadline = time.monotonic() + 20
    while (state(running) == "T") != halted:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("spins", [True, False])
def test_one_that_takes_cpu_for_nothing_is_halted(spins: bool) -> None:
    program = "while True: pass" if spins else "import time; time.sleep(60)"
    server = Server("test", "a test", (), (sys.executable, "-c", program), spins=spins)
    with RunningServer(server, ENVIRONMENT, RAW, None) as running:
        running.halt()
        until_halted(running, halted=spins)
        running.go_on()
        until_halted(running, halted=False)
        running.halt()
    # It ends all the same.
    assert not Path(f"/proc/{running.pid}").exists()
