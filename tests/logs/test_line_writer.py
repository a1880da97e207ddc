"""Lines without records are those that logging writes; whatever is not plain is left to logging."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.logs.line_writer import LineWriter, flush_lines, plain_handler

LINES = ["GET /", "with \u20ac and %s %(x)d", "", "x" * 9000, *(f"line {number}" for number in range(3000))]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    # pytest gives handlers to every logger that logging knows of.
    logger = logging.Logger("plain", logging.INFO)  # noqa: LOG001
    logger.propagate = False
    yield logger
    vars(logger).pop("handle", None)
    logger.filters.clear()
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()


def file_handler(path: Path) -> logging.FileHandler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def write(logger: logging.Logger, lines: list[str]) -> list[bool]:
    async def main() -> list[bool]:
        writer = LineWriter(logger, asyncio.get_running_loop())
        taken = [writer.add(line) for line in lines]
        await asyncio.sleep(0)
        writer.close()
        return taken

    return asyncio.run(main())


def test_the_file_is_the_one_that_logging_writes(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(file_handler(tmp_path / "fast"))
    assert all(write(logger, LINES))
    slow = file_handler(tmp_path / "slow")
    for line in LINES:
        slow.handle(logging.LogRecord("plain", logging.INFO, "", 0, "%s", (line,), None))
    slow.close()
    assert (tmp_path / "fast").read_bytes() == (tmp_path / "slow").read_bytes()


def test_a_file_that_was_closed_is_opened(logger: logging.Logger, tmp_path: Path) -> None:
    handler = file_handler(tmp_path / "log")
    logger.addHandler(handler)
    handler.close()
    assert all(write(logger, ["one", "two"]))
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_where_the_loop_does_not_turn_any_more(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(file_handler(tmp_path / "log"))

    async def main() -> str:
        writer = LineWriter(logger, asyncio.get_running_loop())
        assert writer.add("the last")
        flush_lines()
        return (tmp_path / "log").read_text()

    assert asyncio.run(main()) == "the last\n"


def test_a_pipe_gets_whole_lines(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    sizes: list[int] = []
    kernels = os.write

    def counted(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        assert data.endswith(b"\n")
        return kernels(fd, data)

    seen: list[bytes] = []
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:
        thread = threading.Thread(target=lambda: seen.append(reader.read()))
        thread.start()
        logger.addHandler(logging.StreamHandler(stream))
        lines = [f"line {number}" for number in range(3000)]
        monkeypatch.setattr(os, "write", counted)
        write(logger, lines)
        monkeypatch.undo()
        stream.close()
        thread.join()
    assert seen[0].decode().splitlines() == lines
    assert max(sizes) <= select.PIPE_BUF


def test_a_reader_that_stalls_holds_nobody_up(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn_worker.logs.line_writer._MOST_WAITING", 100_000)
    reading, writing = os.pipe()
    seen = b""

    async def main() -> None:
        nonlocal seen
        writer = LineWriter(logger, asyncio.get_running_loop())
        for number in range(3000):
            # More than the pipe has room for, and than may wait.
            assert writer.add(f"{number:099d}")
            if number % 30 == 29:
                await asyncio.sleep(0)
        os.set_blocking(reading, False)
        while not seen.endswith(b"last\n"):
            try:
                seen += os.read(reading, 65536)
            except BlockingIOError:
                await asyncio.sleep(0.01)
                if b"last" not in seen and len(seen) > 100_000:
                    writer.add("last")
        writer.close()

    with open(writing, "w", encoding="utf-8") as stream:
        logger.addHandler(logging.StreamHandler(stream))
        asyncio.run(main())
    os.close(reading)
    lines = [line for line in seen.decode().splitlines() if line != "last"]
    assert lines == [f"{number:099d}" for number in range(len(lines))]
    assert 1000 < len(lines) < 3000
    first, last = capfd.readouterr().err.splitlines()
    assert "its reader does not read" in first
    assert last.endswith(f"is written again; {3000 - len(lines)} lines were lost")


def test_a_stream_without_a_file(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    write(logger, ["a", "b"])
    assert stream.getvalue() == "a\nb\n"


def changes() -> dict[str, Callable[[logging.Logger, logging.Handler], Any]]:
    class Own(logging.StreamHandler):  # type: ignore[type-arg]
        pass

    return {
        "a filter on the logger": lambda logger, handler: logger.addFilter(lambda record: True),
        "a filter on the handler": lambda logger, handler: handler.addFilter(lambda record: True),
        "a level on the handler": lambda logger, handler: handler.setLevel(logging.ERROR),
        "a formatter": lambda logger, handler: handler.setFormatter(logging.Formatter("%(asctime)s %(message)s")),
        "a class of formatters": lambda logger, handler: handler.setFormatter(
            type("Own", (logging.Formatter,), {})("%(message)s")
        ),
        "another handler": lambda logger, handler: logger.addHandler(logging.NullHandler()),
        "no handler": lambda logger, handler: logger.removeHandler(handler),
        "a class of handlers": lambda logger, handler: setattr(logger, "handlers", [Own(io.StringIO())]),
        "propagation": lambda logger, handler: setattr(logger, "propagate", True),
        "a handler that failed": lambda logger, handler: setattr(handler, "emit", print),
        "a handle of its own": lambda logger, handler: setattr(logger, "handle", print),
    }


@pytest.mark.parametrize("change", changes().values(), ids=changes())
def test_what_is_not_plain_is_left_to_logging(
    change: Callable[[logging.Logger, logging.Handler], Any], logger: logging.Logger
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    assert plain_handler(logger) is handler
    change(logger, handler)
    assert write(logger, ["a line"]) == [False]
    assert stream.getvalue() == ""


def test_a_record_factory_is_asked(logger: logging.Logger) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logging.setLogRecordFactory(type("Own", (logging.LogRecord,), {}))
    try:
        assert plain_handler(logger) is None
    finally:
        logging.setLogRecordFactory(logging.LogRecord)


def test_it_is_looked_at_in_each_turn(logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)

    async def main() -> None:
        writer = LineWriter(logger, asyncio.get_running_loop())
        assert writer.add("a")
        await asyncio.sleep(0)
        logger.addFilter(lambda record: True)
        assert not writer.add("b")
        logger.filters.clear()
        # As at the end of the process.
        assert writer.add("c")
        writer.flush()

    asyncio.run(main())
    assert stream.getvalue() == "a\nc\n"


def test_after_the_loop_there_are_records(logger: logging.Logger) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    loop = asyncio.new_event_loop()
    loop.close()
    assert not LineWriter(logger, loop).add("late")


def test_each_line_that_is_lost_counts(logger: logging.Logger) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no room")

    handler = logging.StreamHandler(Full())
    lost: list[str] = []
    handler.handleError = lambda record: lost.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    write(logger, ["a", "b"])
    assert lost == ["a", "b"]
