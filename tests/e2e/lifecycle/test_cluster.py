"""``examples/cluster``: three machines behind a load balancer are restarted one by one, and nobody notices."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.frontends import running
from tests.e2e.harness import alive, control_socket_option, until
from tests.e2e.lifecycle.load import Load
from tests.e2e.raw import Connection
from tests.sockets import free_port

EXAMPLE = Path(__file__).parents[3] / "examples" / "cluster"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not EXAMPLE.is_dir(), reason="examples/ is not here"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one loopback address"),
]


def masters(folder: Path) -> list[int]:
    """Those that run; the file of one that ends goes with it."""
    found: list[int] = []
    for path in sorted(folder.glob("machine-*.pid")):
        with suppress(FileNotFoundError):
            found.append(int(path.read_text()))
    return found


def answers(address: tuple[str, int]) -> bool:
    try:
        with Connection(address, 5) as connection:
            return connection.get("/").status == 200
    except OSError:
        return False


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_rolling_restart(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    folder = shutil.copytree(EXAMPLE, tmp_path / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    # The same proportions, in half of the time.
    edit(folder / "gunicorn.conf.py", "timeout_drain_delay=2", "timeout_drain_delay=1")
    edit(folder / "haproxy.cfg", "inter 500ms fastinter 200ms", "inter 200ms fastinter 100ms")
    # Ports that no machine's address uses.
    front = ("127.0.0.1", free_port(""))
    # The PATH of an environment that was not activated, but from which this Python comes.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
    env |= {"PATH": path, "PORT": str(free_port("")), "FRONT": "{}:{}".format(*front), "SETTLE": "0.6"}
    env["GUNICORN_OPTIONS"] = " ".join(control_socket_option())
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = os.pathsep.join(
            os.path.abspath(part) for part in env["PYTHONPATH"].split(os.pathsep) if part
        )

    def restart() -> list[int]:
        subprocess.run(["./rolling_restart.sh"], cwd=folder, env=env, check=True, timeout=60, capture_output=True)
        return masters(folder)

    try:
        first = restart()
        assert len(first) == 3
        with running("haproxy", ["-db", "-C", str(folder), "-f", "haproxy.cfg"], folder, env=env):
            until(lambda: answers(front), "an answer through haproxy")
            with Load(front, slow="/slow") as load:
                second = restart()
                load.stop()
            assert sum(load.answered.values()) > 100
        assert not set(first) & set(second)
        logs = [(folder / f"machine-127.0.0.1{number}.log").read_text() for number in (1, 2, 3)]
        for log in logs:
            assert "Stopping: accepting for another 1.0 s" in log
            assert "nothing was cut" in log
            assert "[ERROR]" not in log
    finally:
        left = masters(folder)
        for master in left:
            with suppress(ProcessLookupError):
                os.kill(master, signal.SIGQUIT)
        until(lambda: not any(map(alive, left)), "the end of the machines")
