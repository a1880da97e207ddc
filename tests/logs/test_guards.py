"""Logs that can't be written say so once; files that can't be reopened go on."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from uvicorn_worker.logs.guards import guard_handlers, keep_files_open


class Disk(io.StringIO):
    name = "/var/log/access.log"
    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def logger(disk: Disk) -> Iterator[logging.Logger]:
    logger = logging.getLogger("uvicorn.error")
    handler = logging.StreamHandler(disk)
    logger.addHandler(handler)
    guard_handlers()
    guard_handlers()
    yield logger
    logger.removeHandler(handler)
    handler.close()


def test_a_full_disk_is_two_lines(logger: logging.Logger, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    logger.error("before")
    disk.full = True
    for _ in range(50):
        logger.error("lost")
    disk.full = False
    logger.error("after")
    logger.error("later")
    assert disk.getvalue() == "before\nafter\nlater\n"
    first, last = capfd.readouterr().err.splitlines()
    assert "The log /var/log/access.log can't be written" in first
    assert "No space left on device" in first
    assert last.endswith("The log /var/log/access.log is written again; 50 lines were lost")


def test_a_fault_in_a_formatter_is_shown_where_it_is_once(
    logger: logging.Logger, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logger.handlers[-1]
    formatter = logging.Formatter("%(message)s %(missing)d", defaults={"missing": "no number"})
    handler.setFormatter(formatter)
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err.count("--- Logging error ---") == 1


def test_one_that_comes_and_goes_is_watched_on(
    logger: logging.Logger, disk: Disk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    handler = logger.handlers[-1]
    for _ in range(3):
        disk.full = True
        logger.error("a line")
        disk.full = False
        logger.error("a line")
    assert "emit" in vars(handler)
    now += 5
    logger.error("a line")
    assert "emit" not in vars(handler)


def test_a_handler_with_an_answer_of_its_own_keeps_it() -> None:
    class Own(logging.Handler):
        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is that of logging
            pass

    handler = Own()
    logging.getLogger("uvicorn.error").addHandler(handler)
    try:
        guard_handlers()
        assert "handleError" not in vars(handler)
    finally:
        logging.getLogger("uvicorn.error").removeHandler(handler)


class Reopening:
    """As Gunicorn reopens the files of all loggers, each handler as often as loggers have it."""

    def __init__(self, handler: logging.FileHandler) -> None:
        self.handler = handler

    def __call__(self) -> None:
        for _ in range(2):
            self.handler.close()
            self.handler.stream = self.handler._open()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[logging.FileHandler]:
    handler = logging.FileHandler(tmp_path / "log" / "error.log", delay=True)
    (tmp_path / "log").mkdir()
    handler.stream = handler._open()
    logging.getLogger("uvicorn.error").addHandler(handler)
    yield handler
    logging.getLogger("uvicorn.error").removeHandler(handler)
    handler.close()


def test_files_are_reopened(file: logging.FileHandler, tmp_path: Path) -> None:
    path = tmp_path / "log" / "error.log"
    path.rename(path.with_suffix(".1"))
    assert keep_files_open(Reopening(file)) == []
    logging.getLogger("uvicorn.error").error("after")
    assert path.read_text() == "after\n"


def test_a_file_that_cant_be_opened_goes_on(file: logging.FileHandler, tmp_path: Path) -> None:
    (tmp_path / "log").rename(tmp_path / "moved")
    (line,) = keep_files_open(Reopening(file))
    assert "can't be reopened and goes on as it is: No such file" in line
    logging.getLogger("uvicorn.error").error("after")
    assert (tmp_path / "moved" / "error.log").read_text() == "after\n"
    (tmp_path / "log").mkdir()
    assert keep_files_open(Reopening(file)) == []
    logging.getLogger("uvicorn.error").error("again")
    assert (tmp_path / "log" / "error.log").read_text() == "again\n"


def test_whatever_reopening_raises_is_a_line() -> None:
    def fail() -> None:
        raise PermissionError("not allowed")

    assert keep_files_open(fail) == ["The logs could not be reopened: not allowed"]
