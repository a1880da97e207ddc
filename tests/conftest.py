"""Fixtures of all tests."""

from __future__ import annotations

import asyncio
import compileall
import gc
import importlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import uvicorn_worker
from tests.records import kept, loggers_left_alone
from tests.sockets import PATIENCE, Peer, Run
from uvicorn_worker.core.cycle import Cycle
from uvicorn_worker.core.log import Losses, OwnLog
from uvicorn_worker.core.output import Output
from uvicorn_worker.server import Config

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package, once for the hundreds of processes that the tests start: these write no bytecode."""
    # What a shell starts in the background ignores it, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.version_info < (3, 11):
        # It takes a TLS connection that the client has reset for one that nobody has closed.
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
    if not hasattr(config, "workerinput"):
        for folder in (Path(uvicorn_worker.__file__).parent, HERE / "e2e"):
            if os.access(folder, os.W_OK):
                compileall.compile_dir(folder, quiet=2)


# Servers, processes and threads that run beside each other on a machine that others use, too, may be unlucky once: a
# test that fails is run again, and shown all the same. More than so many in one run are no bad luck.
MOST_UNSTEADY = 3


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let pytest-rerunfailures (16.7) write at once what it asks the process that reports.

    It is two short messages for each test, and TCP holds the second one back until the first is acknowledged: 40 ms.
    """
    connection = getattr(getattr(session.config, "failures_db", None), "sock", None)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# What has no wheel for some Pythons (PyPy), and what the worker does without there.
LEFT_OUT = [name for name in ("httptools", "uvloop") if importlib.util.find_spec(name) is None]


def _missing_for(item: pytest.Item) -> str:
    """The name of the parser or the event loop that a test is to run with, where it is not installed."""
    callspec = getattr(item, "callspec", None)
    values = [value for value in callspec.params.values() if isinstance(value, str)] if callspec else []
    return next((name for name in LEFT_OUT if name in values), "")


def _is_of_the_others(item: pytest.Item) -> bool:
    """Whether `make test` leaves this case to `make test-long`.

    Every value of every parameter is in a case that it does not leave.
    """
    mark, callspec = item.get_closest_marker("one_of"), getattr(item, "callspec", None)
    return mark is not None and callspec is not None and sum(callspec.indices.values()) % mark.args[0] != 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that start processes come first: side by side with others, what is long must not be begun last."""
    for item in items:
        if _is_of_the_others(item):
            item.add_marker("long")
        if missing := _missing_for(item):
            item.add_marker(pytest.mark.skip(reason=f"{missing} is not installed"))
        item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
    items.sort(key=lambda item: not (item.path.is_relative_to(HERE / "e2e") or item.path.name == "test_rooms.py"))


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: the collections that tests ask for look at what is made from now on."""
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()


def _unsteady(config: pytest.Config) -> list[pytest.TestReport]:
    """How those failed that were run again; of several processes that run tests only the one that reports knows."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return [] if reporter is None or hasattr(config, "workerinput") else list(reporter.stats.get("rerun", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where too many tests are unsteady."""
    if len(_unsteady(session.config)) > MOST_UNSTEADY:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show how each failed that was run again, with what its servers wrote, as if it had failed for good."""
    reports = _unsteady(config)
    for report in reports:
        terminalreporter.section(f"unsteady: {report.nodeid}", red=True, bold=True)
        terminalreporter.write_line(report.longreprtext)
        for name, text in report.sections:
            terminalreporter.section(name, sep="-")
            terminalreporter.write_line(text)
    if reports:
        terminalreporter.section(f"{len(reports)} unsteady, at most {MOST_UNSTEADY} may be", red=True, bold=True)


@pytest.fixture(autouse=True)
def fresh_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that failed in the test before, and is told of once, is a new one."""
    monkeypatch.setattr(Cycle, "_losses", Losses(Cycle._losses.name))
    monkeypatch.setattr(OwnLog, "_losses", Losses(OwnLog._losses.name))


# Those that the server, and what it runs in, set up for a process of their own.
SHARED_LOGGERS = ("", "uvicorn", "uvicorn.access", "uvicorn.error", "uvicorn.asgi", "gunicorn.access", "gunicorn.error")


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """What a test makes of loggers that others have too ends with it."""
    with kept(*SHARED_LOGGERS):
        yield


@pytest.fixture(autouse=True)
def no_gunicorn_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker class that is set up says of the process that its loggers are Gunicorn's."""
    monkeypatch.setattr(Config, "own_logs_at_once", Config.own_logs_at_once)


@pytest.fixture(autouse=True)
def no_peer_is_left() -> Iterator[None]:
    """A client goes before its loop does: one that is left says so when Python ends, where nobody knows whose it is."""
    yield
    left = list(Peer.live)
    Peer.live.clear()
    assert left == [], "clients of a test are closed in their loop, as by the fixture `run`, or by `run_alone`"


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """pytest's, to which uvicorn's lines come."""
    with loggers_left_alone():
        yield caplog


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """The lines of the error log: `log()`, or `log(level)` for that level and above."""
    caplog.set_level(logging.DEBUG, "uvicorn.error")

    def lines(level: int = logging.INFO) -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == "uvicorn.error" and record.levelno >= level
        ]

    return lines


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ticks that connections were told of; see `ticks_of`."""
    ticks: list[int] = []
    on_tick = Output.on_tick

    def noted(self: Output, tick: int) -> None:
        ticks.append(tick)
        on_tick(self, tick)

    monkeypatch.setattr(Output, "on_tick", noted)
    return ticks


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine to its end on each kind of event loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        loop = importlib.import_module("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()

    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: faults.append(context))

    async def with_clean_up(coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await asyncio.wait_for(coroutine, PATIENCE)
        finally:
            await Peer.close_all()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    yield lambda coroutine: loop.run_until_complete(with_clean_up(coroutine))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert faults == []
