"""Records go to pipes as logging writes them, but nobody waits for who reads; what is not logging's is left alone."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.records import kept
from uvicorn_worker.logs.formatters import DefaultFormatter
from uvicorn_worker.logs.guards import guard_handlers, keep_files_open
from uvicorn_worker.logs.json_lines import JsonFormatter
from uvicorn_worker.logs.line_writer import plain_handler
from uvicorn_worker.logs.piped_handlers import PipedEmit, unblock_handlers

PATIENCE = 20.0


class Pipe:
    """A pipe, and a stream that writes to it; `read` gives what has come so far."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w", encoding=encoding)
        os.set_blocking(self.reading, False)

    def read(self) -> str:
        try:
            return os.read(self.reading, 1 << 20).decode(self.stream.encoding)
        except BlockingIOError:
            return ""

    def read_until(self, last: str) -> str:
        seen, deadline = "", time.monotonic() + PATIENCE
        while not seen.endswith(last):
            assert time.monotonic() < deadline
            seen += self.read()
            time.sleep(0.001)
        return seen

    def close(self) -> None:
        self.stream.close()
        os.close(self.reading)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    with kept("piped") as (logger,):
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.handlers = []
        yield logger


def handler_of(stream: Any, formatter: logging.Formatter | None = None) -> logging.StreamHandler[Any]:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    return handler


def unblocked(logger: logging.Logger, handler: logging.Handler) -> bool:
    """Whether it waits for nobody now."""
    if handler not in logger.handlers:
        logger.addHandler(handler)
    unblock_handlers()
    return isinstance(vars(handler).get("emit"), PipedEmit)


def log_some(logger: logging.Logger) -> None:
    logger.info("a line with \u20ac and %s", {"x": 1})
    logger.warning("two\nlines")
    try:
        raise RuntimeError("why")
    except RuntimeError:
        logger.exception("and a traceback of %d lines", 4, stack_info=True)
    logger.debug("")


@pytest.mark.parametrize(
    "formatter",
    [
        None,
        logging.Formatter("%(levelname)s %(message)s"),
        DefaultFormatter("%(levelprefix)s %(message)s", use_colors=True),
        JsonFormatter(),
    ],
    ids=["none", "plain", "colours", "json"],
)
def test_lines_are_those_that_logging_writes(
    formatter: logging.Formatter | None, logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1e9)
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    expected = io.StringIO()
    slow = handler_of(expected, formatter)
    assert not unblocked(logger, slow)
    handler = handler_of(pipe.stream, formatter)
    handler.terminator = slow.terminator = "\r\n"
    assert unblocked(logger, handler)
    log_some(logger)
    assert handler.stream is pipe.stream
    assert pipe.read() == expected.getvalue()


def test_nobody_waits_for_a_reader_that_does_not_read(logger: logging.Logger, pipe: Pipe) -> None:
    assert unblocked(logger, handler_of(pipe.stream))
    lines = [f"{number} ".ljust(1000, "x") for number in range(500)]
    for line in lines:
        logger.error(line)
    assert pipe.read_until(lines[-1] + "\n").splitlines() == lines


def test_what_is_lost_is_told_in_the_log_itself(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn_worker.logs.backlog._MOST_WAITING", 100_000)
    with kept("uvicorn.error") as (logger,):
        logger.propagate = False
        assert unblocked(logger, handler_of(pipe.stream, logging.Formatter("%(levelname)s %(message)s")))
        lines = [f"{number} ".ljust(1000, "x") for number in range(500)]
        for line in lines:
            logger.error("%s", line)
        seen = pipe.read_until("lines were lost\n").splitlines()
    assert seen[:-1] == [f"ERROR {line}" for line in lines[: len(seen) - 1]]
    assert seen[-1].startswith("WARNING The log ")
    assert seen[-1].endswith(f"is written again; {500 - len(seen) + 1} lines were lost")
    assert "its reader does not read" in capfd.readouterr().err


def test_threads_log_whole_records_each_in_its_order(logger: logging.Logger, pipe: Pipe) -> None:
    assert unblocked(logger, handler_of(pipe.stream))

    def log(name: int) -> None:
        for number in range(300):
            logger.error("%d %d %s", name, number, "x" * 300)

    threads = [threading.Thread(target=log, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    logger.error("last")
    seen = pipe.read_until("last\n").splitlines()
    for name in range(4):
        own = [line for line in seen if line.startswith(f"{name} ")]
        assert own == [f"{name} {number} {'x' * 300}" for number in range(300)]


def test_both_logs_keep_their_order_in_one_pipe(logger: logging.Logger, pipe: Pipe) -> None:
    other = logging.getLogger("piped.other")
    other.propagate = False
    stream = os.fdopen(os.dup(pipe.stream.fileno()), "w", encoding="utf-8")
    try:
        assert unblocked(logger, handler_of(pipe.stream))
        assert unblocked(other, handler_of(stream))
        for number in range(300):
            (logger if number % 2 else other).error("%d %s", number, "x" * 500)
        logger.error("the last")
        seen = pipe.read_until("the last\n").removesuffix("the last\n")
        assert [int(line.split()[0]) for line in seen.splitlines()] == list(range(300))
    finally:
        other.handlers.clear()
        stream.close()


def test_what_others_have_written_to_the_stream_comes_before(logger: logging.Logger, pipe: Pipe) -> None:
    assert unblocked(logger, handler_of(pipe.stream))
    pipe.stream.write("begun, ")
    logger.error("ended")
    assert pipe.read() == "begun, ended\n"


def test_the_last_resort_is_one_of_them(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    handler: Any = logging.lastResort
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    unblock_handlers()
    try:
        assert isinstance(vars(handler)["emit"], PipedEmit)
        for number in range(100):
            handler.handle(logging.makeLogRecord({"msg": f"{number} ".ljust(1000, "x")}))
        handler.handle(logging.makeLogRecord({"msg": "the last"}))
        assert len(pipe.read_until("the last\n").splitlines()) == 101
    finally:
        del handler.emit


class Tee(io.TextIOWrapper):
    """Has a descriptor, and does more than write to it."""


def own_class(pipe: Pipe) -> logging.Handler:
    class Own(logging.StreamHandler):  # type: ignore[type-arg]
        pass

    return Own(pipe.stream)


def own_emit(pipe: Pipe) -> logging.Handler:
    handler = handler_of(pipe.stream)
    vars(handler)["emit"] = print
    return handler


def own_stream(pipe: Pipe) -> logging.Handler:
    return handler_of(Tee(pipe.stream.buffer, write_through=True))


def no_stream(pipe: Pipe) -> logging.Handler:
    return handler_of(io.StringIO())


def closed_stream(pipe: Pipe) -> logging.Handler:
    stream = os.fdopen(os.dup(pipe.stream.fileno()), "w", encoding="utf-8")
    stream.close()
    return handler_of(stream)


def no_file(pipe: Pipe) -> logging.Handler:
    return logging.FileHandler("never opened", delay=True)


@pytest.mark.parametrize("make", [own_class, own_emit, own_stream, no_stream, closed_stream, no_file])
def test_what_is_not_loggings_own_is_left_alone(
    make: Callable[[Pipe], logging.Handler], logger: logging.Logger, pipe: Pipe
) -> None:
    handler = make(pipe)
    before = dict(vars(handler))
    assert not unblocked(logger, handler)
    assert vars(handler) == before
    if make is own_stream:
        handler.stream.detach()  # type: ignore[attr-defined]


def test_nor_is_a_file_on_a_disk(logger: logging.Logger, tmp_path: Path) -> None:
    assert not unblocked(logger, logging.FileHandler(tmp_path / "log"))


def test_nor_is_a_class_that_somebody_has_changed(
    logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.StreamHandler, "emit", lambda handler, record: None)
    assert not unblocked(logger, handler_of(pipe.stream))


def test_a_handler_that_is_given_another_stream(logger: logging.Logger, pipe: Pipe, tmp_path: Path) -> None:
    handler = handler_of(pipe.stream)
    assert unblocked(logger, handler)
    logger.error("one")
    with (tmp_path / "log").open("w") as file:
        handler.setStream(file)
        logger.error("two")
        handler.setStream(io.StringIO())
    logger.error("three")
    assert handler.stream.getvalue() == "three\n"
    assert (tmp_path / "log").read_text() == "two\n"
    handler.setStream(pipe.stream)
    logger.error("four")
    assert pipe.read() == "one\nfour\n"


def test_a_stream_that_was_closed_is_told_as_logging_does(
    logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = os.fdopen(os.dup(pipe.stream.fileno()), "w", encoding="utf-8")
    assert unblocked(logger, handler_of(stream))
    stream.close()
    logger.error("a line")
    assert "ValueError: I/O operation on closed file" in capsys.readouterr().err


def test_a_file_that_is_opened_again(logger: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    handler = logging.FileHandler(path)
    assert unblocked(logger, handler)
    logger.error("one")

    def reopen() -> None:
        handler.close()
        handler.stream = handler._open()

    assert keep_files_open(reopen) == []
    logger.error("two")
    # As after a dictConfig().
    handler.close()
    logger.error("three")
    logger.error("four")
    assert os.read(reading, 100) == b"one\ntwo\nthree\nfour\n"
    # What was renamed meanwhile goes on to be read to its end.
    path.rename(tmp_path / "log.1")
    os.mkfifo(path)
    other = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(30):
        logger.error("x" * 4095)
    assert keep_files_open(reopen) == []
    logger.error("five")
    assert os.read(other, 100) == b"five\n"
    seen = b""
    while len(seen) < 30 * 4096:
        try:
            seen += os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(0.001)
    assert seen == (b"x" * 4095 + b"\n") * 30
    os.close(reading)
    os.close(other)


def test_one_that_fails_in_its_formatter_goes_on_as_it_was(
    logger: logging.Logger, pipe: Pipe, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = handler_of(pipe.stream, logging.Formatter("%(number)d"))
    assert unblocked(logger, handler)
    emit = vars(handler)["emit"]
    guard_handlers()
    for _ in range(3):
        logger.error("without")
    # It is in hand.
    unblock_handlers()
    logger.error("with", extra={"number": 1})
    assert vars(handler)["emit"] is emit
    assert pipe.read() == "1\n"
    first, last = capfd.readouterr().err.splitlines()
    assert "Formatting field not found" in first
    assert last.endswith("is written again; 3 lines were lost")


def test_a_line_that_cant_be_encoded_is_told_as_logging_does(logger: logging.Logger) -> None:
    pipe = Pipe("latin-1")
    lost: list[Any] = []
    handler = handler_of(pipe.stream)
    handler.handleError = lambda record: lost.append(sys.exc_info()[0])  # type: ignore[method-assign]
    assert unblocked(logger, handler)
    logger.error("\u20ac")
    logger.error("\u00e4")
    assert pipe.read() == "\u00e4\n"
    assert lost == [UnicodeEncodeError]
    pipe.close()


def test_an_endless_recursion_is_not_kept_quiet(logger: logging.Logger, pipe: Pipe) -> None:
    handler = handler_of(pipe.stream)
    assert unblocked(logger, handler)

    def again(record: logging.LogRecord) -> str:
        return again(record)

    handler.format = again  # type: ignore[method-assign]
    with pytest.raises(RecursionError):
        logger.error("a line")


# Python 3.15 warns of what is tested here: a fork while a thread writes.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_writes_its_lines_as_logging_does(logger: logging.Logger, pipe: Pipe) -> None:
    handler = handler_of(pipe.stream)
    assert unblocked(logger, handler)
    for number in range(100):
        logger.error("%d %s", number, "x" * 1000)
    child = os.fork()
    if not child:
        # It waits for the reader; what waited at the fork is not its own.
        try:
            signal.alarm(20)
            logger.error("the child")
        finally:
            os._exit(0)
    seen = ""
    while "the child" not in seen or f"99 {'x' * 1000}" not in seen:
        seen += pipe.read()
        time.sleep(0.001)
    assert os.waitpid(child, 0)[1] == 0
    lines = [line for line in seen.splitlines() if line != "the child"]
    assert [int(line.split()[0]) for line in lines] == list(range(100))


def test_a_child_that_serves_itself_has_its_own(
    logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = handler_of(pipe.stream)
    assert unblocked(logger, handler)
    emit = vars(handler)["emit"]
    assert unblocked(logger, handler)
    assert vars(handler)["emit"] is emit
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert unblocked(logger, handler)
    assert vars(handler)["emit"] is not emit
    logger.error("a line")
    assert pipe.read() == "a line\n"


def test_access_lines_need_no_records_all_the_same(logger: logging.Logger, pipe: Pipe) -> None:
    # Without those of pytest.
    logger.handlers = [handler := handler_of(pipe.stream)]
    assert unblocked(logger, handler)
    assert plain_handler(logger) is handler


def test_a_line_that_a_thread_writes_is_there_when_it_is_logged(
    logger: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn_worker.logs.backlog.opened_again", lambda fd: None)
    monkeypatch.setattr("uvicorn_worker.logs.piped_handlers._PATIENCE", PATIENCE)
    assert unblocked(logger, handler_of(pipe.stream))
    for number in range(20):
        logger.error("%d", number)
        assert pipe.read() == f"{number}\n"
