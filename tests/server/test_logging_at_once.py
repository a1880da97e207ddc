"""Logging is set up when a Config is made, as with uvicorn: what a program makes of it before it serves is left so."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.surroundings import Surroundings

NAMES = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
TABLE: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"uvicorn": {"handlers": ["null"], "level": "INFO"}},
}
# Who has nothing of logging: pytest has handlers already.
PROGRAM = """
import logging, threading, time, urllib.request
from uvicorn_worker.server import Config, Server

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world!"})

config = Config(app, host="127.0.0.1", port=0, lifespan="off")
access = logging.getLogger("uvicorn.access")
print([type(each).__name__ for each in access.handlers])
mine = logging.StreamHandler()
mine.setFormatter(logging.Formatter("mine: %(message)s"))
access.handlers.append(mine)
logging.getLogger("uvicorn.error").setLevel("WARNING")
server = Server(config)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
server.should_exit = True
thread.join()
"""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Does nothing."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    states = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, states, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_handler_that_a_program_adds_has_the_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "['StreamHandler']" in done.stdout
    assert '"GET / HTTP/1.1" 200 OK' in done.stdout
    (mine,) = [line for line in done.stderr.splitlines() if line.startswith("mine: ")]
    assert mine.endswith('"GET / HTTP/1.1" 200')
    assert "Uvicorn running" not in done.stderr


def test_what_was_changed_meanwhile_is_left() -> None:
    config = Config(app, port=0, log_config=TABLE, log_level="warning")
    logger, error = logging.getLogger("uvicorn"), logging.getLogger("uvicorn.error")
    assert (len(logger.handlers), error.level) == (1, logging.WARNING)
    logger.handlers.clear()
    error.setLevel(logging.ERROR)
    server = Server(config)
    server.should_exit = True
    server.run()
    assert (logger.handlers, error.level) == ([], logging.ERROR)


@pytest.mark.parametrize("made", [lambda config: pickle.loads(pickle.dumps(config)), copy.deepcopy])  # noqa: S301
def test_another_process_sets_it_up_anew(made: Any) -> None:
    config = made(Config("main:app", log_config=TABLE))
    assert not config.own_logging_is_set_up
    logging.getLogger("uvicorn").handlers.clear()
    Surroundings().set_up_logging(config)
    assert len(logging.getLogger("uvicorn").handlers) == 1


def test_what_is_assigned_counts() -> None:
    config = Config(app, log_config=None)
    assert config.own_logging_is_set_up
    config.log_config = TABLE  # type: ignore[misc]
    assert not config.own_logging_is_set_up
    Surroundings().set_up_logging(config)
    assert len(logging.getLogger("uvicorn").handlers) == 1


def test_a_configuration_that_can_not_be_used_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="option log_config"):
        Config(app, log_config={"version": 2})


def test_of_one_that_waits() -> None:
    class Waits(Config):
        own_logs_at_once = False

    logging.getLogger("uvicorn").handlers.clear()
    config = Waits(app, log_config=TABLE)
    assert not config.own_logging_is_set_up
    assert logging.getLogger("uvicorn").handlers == []


def test_the_level_of_one_config_is_not_that_of_the_next() -> None:
    """As of a program that serves its metrics, too, and those in silence."""
    Config(app, log_level="warning")
    assert logging.getLogger("uvicorn.access").level == logging.WARNING
    Config(app)
    assert [logging.getLogger(name).level for name in ("uvicorn.error", "uvicorn.access")] == [logging.INFO] * 2
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    Config(app, log_config=None)
    assert logging.getLogger("uvicorn.error").level == logging.ERROR


@pytest.mark.parametrize("log_config", [None, {**TABLE, "loggers": {}}])
def test_without_one_the_level_is_that_of_the_program(log_config: Any) -> None:
    """As BentoML has it, whose root logger lets warnings through: it has access lines of its own."""
    for name in NAMES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    Config(app, log_config=log_config)
    root = logging.getLogger()
    before = root.level
    try:
        root.setLevel(logging.WARNING)
        assert not logging.getLogger("uvicorn.access").isEnabledFor(logging.INFO)
        root.setLevel(logging.INFO)
        assert logging.getLogger("uvicorn.access").isEnabledFor(logging.INFO)
    finally:
        root.setLevel(before)


@pytest.mark.parametrize("log_level", ["info", 20, "debug"])
def test_a_level_that_is_given_wins_over_that_of_the_table(log_level: Any) -> None:
    """Also the one that is the default, as solara's `--log-level-uvicorn info` has it."""
    table = {**TABLE, "loggers": {**TABLE["loggers"], "uvicorn.error": {"level": "ERROR"}}}
    expected = logging.DEBUG if log_level == "debug" else logging.INFO
    Config(app, log_config=table)
    assert logging.getLogger("uvicorn.error").level == logging.ERROR
    Config(app, log_config=table, log_level=log_level)
    assert logging.getLogger("uvicorn.error").level == expected
    config = Config(app, log_config=table)
    config.log_level = log_level  # type: ignore[misc]  # it can be assigned
    config.configure_logging()
    assert logging.getLogger("uvicorn.error").level == expected


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_server_tells_of_its_process_and_its_stop(by_hand: bool, caplog: pytest.LogCaptureFixture) -> None:
    """As uvicorn's does: those who embed it look for these lines, and for the number of the process."""
    caplog.set_level(logging.INFO)
    server = Server(Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))

    async def main() -> None:
        if by_hand:
            await server.startup()
            await server.shutdown()
            return
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        server.should_exit = True
        await serving

    asyncio.run(main())
    said = [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"]
    usual = [line for line in said if not line.startswith("Uvicorn running on ")]
    number = os.getpid()
    process = [] if by_hand else [f"Started server process [{number}]", f"Finished server process [{number}]"]
    assert usual == [*process[:1], "Shutting down", *process[1:]]


def test_a_stop_that_was_made_is_not_made_again(caplog: pytest.LogCaptureFixture) -> None:
    """vLLM cancels the task that serves, and then awaits `server.shutdown()`."""
    caplog.set_level(logging.INFO)
    server = Server(Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))

    async def main() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await server.shutdown()

    asyncio.run(main())
    said = [line.split()[0] for line in caplog.messages]
    assert (said.count("Shutting"), said.count("Drained")) == (1, 1)


def test_a_server_that_does_not_start_has_not_finished(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server(Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
    server.should_exit = True
    server.run()
    assert [record.getMessage() for record in caplog.records] == [f"Started server process [{os.getpid()}]"]
