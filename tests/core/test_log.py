"""The server's own lines: guarded against what logging raises, and escaped."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from tests.records import Records, records_of
from uvicorn_worker.core import log as module
from uvicorn_worker.core.log import ErrorLog, Losses, OwnLog, escaped, say_on_stderr, write_stderr, write_stdout


@pytest.fixture
def records() -> Iterator[Records]:
    with records_of("uvicorn.error") as handler:
        yield handler


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/plain?a=b c", "/plain?a=b c"),
        ("/a\nb\r\t\0", "/a\\x0Ab\\x0D\\x09\\x00"),
        ('say "no"\\', "say \\x22no\\x22\\x5C"),
        ("\x7f\x85\x9b31m\xa0", "\\x7F\\x85\\x9B31m\\xA0"),
        ("é世", "é世"),
        ("\u2028\u202e", "\\xE2\\x80\\xA8\\xE2\\x80\\xAE"),
        ("\ud800", "\\xED\\xA0\\x80"),
    ],
)
def test_what_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected
    assert len(escaped(text).splitlines()) == 1


def test_text_of_clients_is_escaped(records: Records) -> None:
    ErrorLog().error("%s said %s, %d times: %s", "a\nb", ValueError('"'), 3, b"\n")
    OwnLog().error("%s", "a\nb")
    assert records.lines == ["a\\x0Ab said \\x22, 3 times: b'\\n'", "a\nb"]


def test_the_line_is_that_of_the_caller(records: Records) -> None:
    ErrorLog().warning("here")
    OwnLog().info("and here")
    assert {record.filename for record in records.kept} == {"test_log.py"}


def test_all_levels(records: Records) -> None:
    log = ErrorLog()
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        for write in (log.debug, log.info, log.warning, log.error):
            write("a line")
        log.log(logging.CRITICAL, "a line")
        assert log.isEnabledFor(logging.DEBUG)
    finally:
        logger.setLevel(before)
    assert [record.levelno for record in records.kept] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("where", ["filter", "handler"])
def test_what_logging_raises_is_said_once(
    where: str, records: Records, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("uvicorn.error")
    broken = True

    class Broken(logging.Handler):
        def filter(self, record: logging.LogRecord) -> bool:
            return True

        def handle(self, record: logging.LogRecord) -> bool:
            if broken:
                raise RuntimeError("out\nof order")
            return True

    handler = Broken()
    if where == "handler":
        logger.addHandler(handler)
    else:
        logger.addFilter(handler.handle)
    monkeypatch.setattr(OwnLog, "_losses", Losses("The log uvicorn.error"))
    try:
        for _ in range(3):
            ErrorLog().error("a line")
        broken = False
        ErrorLog().error("a line")
        OwnLog().error("a line")
    finally:
        logger.removeHandler(handler)
        logger.removeFilter(handler.handle)
    first, last = capfd.readouterr().err.splitlines()
    assert first.endswith(
        "The log uvicorn.error can't be written, lines are lost until it can: RuntimeError: out of order"
    )
    assert last.endswith("The log uvicorn.error is written again; 3 lines were lost")


def test_a_line_that_is_not_written_says_nothing_of_the_log(
    records: Records, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    losses = Losses("The log uvicorn.error")
    monkeypatch.setattr(OwnLog, "_losses", losses)
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "level", logging.INFO)
    losses.add(RuntimeError("broken"))
    OwnLog().debug("below the level")
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert losses.lost == 1


def test_what_comes_and_goes_is_not_said_each_time(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    losses = Losses("The log")
    said = [losses.add(OSError("full")) for _ in range(2)]
    assert losses.end()
    for _ in range(10):
        now += 0.1
        said += [losses.add(OSError("full"))]
        assert not losses.end()
    assert said == [True] + [False] * 11
    assert [line.partition("] ")[2] for line in capfd.readouterr().err.splitlines()] == [
        "The log can't be written, lines are lost until it can: OSError: full",
        "The log is written again; 2 lines were lost",
    ]
    now += 5
    assert losses.end()
    assert losses.end()
    assert capfd.readouterr().err.endswith("The log is written again; 10 lines were lost\n")
    now += 5
    assert losses.add(OSError("full"))


def test_what_has_the_number_of_a_closed_stderr_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, bytes]] = []
    monkeypatch.setattr(module, "write_descriptor", lambda number, data: written.append((number, data)))
    monkeypatch.setattr(sys, "__stderr__", None)
    say_on_stderr("for nobody")
    assert written == []


def test_what_is_printed_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, console = io.StringIO(), io.StringIO()
    closed.close()
    for out in (None, closed, console):
        monkeypatch.setattr(sys, "stdout", out)
        write_stdout("app = 1\n")
    assert console.getvalue() == "app = 1\n"


def test_what_the_command_says_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    write_stderr("for nobody")
    console = io.StringIO()
    monkeypatch.setattr(sys, "stderr", console)
    write_stderr("Error: so it is\n")
    assert console.getvalue() == "Error: so it is\n"
