"""Fixtures of the end-to-end tests: every one of them starts real ``gunicorn`` processes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.command.harness import Command
from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

HERE = Path(__file__).parent

# Those whose servers are measured, since much of what they run is not run by the unit tests: the life of a worker under
# a master, and that of the command under --reload. With coverage each start of a server takes twice as long.
MEASURED = {
    "command/test_reload.py", "lifecycle/test_children.py", "lifecycle/test_succession.py", "test_blocked.py",
    "test_boot.py", "test_boot_failures.py", "test_heartbeat.py", "test_hooks.py", "test_recycle.py",
    "test_signals.py", "test_statsd.py", "test_stop.py", "test_subclasses.py",
}  # fmt: skip

WORKERS = [pytest.param(HTTPTOOLS, id="httptools"), pytest.param(H11, id="h11")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the harness needs Linux's /proc")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(no_proc)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the servers wrote that ran at that moment."""
    report = yield
    if report.failed:
        for server in Gunicorn.live:
            report.sections.append((f"gunicorn {server.pid} stderr", server.log[-20000:]))
            report.sections.append((f"gunicorn {server.pid} stdout", server.out[-5000:]))
            report.sections.append((f"gunicorn {server.pid} events", server.read("events")[-5000:]))
        for command in Command.live:
            report.sections.append((f"{' '.join(command.arguments)[-100:]} stderr", command.log[-20000:]))
            report.sections.append((f"{' '.join(command.arguments)[-100:]} stdout", command.out[-5000:]))
    return report


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """No coverage of the processes that the tests of a file start, unless it is in `MEASURED`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.relative_to(HERE).as_posix() not in MEASURED:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="module", params=WORKERS)
def worker(request: pytest.FixtureRequest) -> str:
    """Each worker class in turn, as ``-k`` takes it."""
    return str(request.param)


@pytest.fixture
def serve() -> Iterator[Callable[..., Gunicorn]]:
    """Start servers that end with the test: ``serve("module:app", ...)`` takes what :class:`Gunicorn` takes."""
    started: list[Gunicorn] = []

    def start(*args: Any, **kwargs: Any) -> Gunicorn:
        server = Gunicorn(*args, **kwargs)
        server.start()
        started.append(server)
        return server

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture(scope="session")
def curl() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run curl with the given arguments: quiet, bounded, without the user's settings and proxies."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")

    def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [program, "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", *args]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)

    return run
