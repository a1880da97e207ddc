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
from types import SimpleNamespace
from typing import Any

import pytest

from tests.memory import counts_references
from tests.records import Records, records
from uvicorn_worker.logs.line_forms import LineForm, gunicorn_forms
from uvicorn_worker.logs.line_writer import LineWriter, close_lines, close_logs, flush_lines, plain_handler

__all__ = ["records"]

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


class Lines:
    """An access log of lines that are there already; `add` says whether one was taken without a record."""

    def __init__(self, logger: logging.Logger, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._records = 0
        self._takes = gunicorn_forms(logger.name, "%(m)s")
        self._writer = LineWriter(logger, loop or asyncio.get_running_loop(), self._forms, self._record)
        self.close, self.flush = self._writer.close, self._writer.flush

    def _forms(self, formatter: logging.Formatter | None) -> LineForm | None:
        return None if self._takes(formatter) is None else lambda cycle, elapsed: cycle.line  # type: ignore[attr-defined]

    def _record(self, cycle: Any, elapsed: float) -> logging.LogRecord:
        self._records += 1
        return logging.LogRecord("plain", logging.INFO, "", 0, "%s", (cycle.line,), None)

    def add(self, line: str) -> bool:
        before = self._records
        cycle: Any = SimpleNamespace(line=line, started=0.0)
        self._writer.log(cycle)
        return self._records == before


def file_handler(path: Path) -> logging.FileHandler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def write(logger: logging.Logger, lines: list[str]) -> list[bool]:
    async def main() -> list[bool]:
        writer = Lines(logger)
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
        writer = Lines(logger)
        assert writer.add("the last")
        flush_lines()
        return (tmp_path / "log").read_text()

    assert asyncio.run(main()) == "the last\n"


@counts_references
@pytest.mark.parametrize("text", ["line", "\u20ac"], ids=["a byte for each character", "several"])
def test_a_pipe_gets_whole_lines(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
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
        lines = [f"{text} {number}" for number in range(3000)]
        monkeypatch.setattr("uvicorn_worker.logs.backlog.write_descriptor", counted)
        write(logger, lines)
        monkeypatch.undo()
        stream.close()
        thread.join()
    assert seen[0].decode().splitlines() == lines
    assert max(sizes) <= select.PIPE_BUF


def test_a_reader_that_stalls_holds_nobody_up(
    logger: logging.Logger, records: Records, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn_worker.logs.backlog._MOST_WAITING", 100_000)
    reading, writing = os.pipe()
    seen = b""

    async def main() -> None:
        nonlocal seen
        writer = Lines(logger)
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
    (said,) = capfd.readouterr().err.splitlines()
    assert "its reader does not read" in said
    assert records.lines[0].endswith(f"is written again; {3000 - len(lines)} lines were lost")


def test_a_stream_that_writes_to_more_than_its_file(logger: logging.Logger, tmp_path: Path) -> None:
    class Tee:
        """As those that copy what a program prints into a file."""

        def __init__(self, file: io.TextIOWrapper) -> None:
            self.file = file
            self.copy = ""

        def write(self, text: str) -> int:
            self.copy += text
            return self.file.write(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        logger.addHandler(logging.StreamHandler(tee := Tee(file)))
        assert all(write(logger, ["a", "b"]))
    assert tee.copy == (tmp_path / "log").read_text() == "a\nb\n"


@counts_references
def test_a_pipe_is_closed_by_who_has_opened_it(logger: logging.Logger) -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:
        logger.addHandler(logging.StreamHandler(stream))
        write(logger, ["a"])
    with open(reading, encoding="utf-8") as reader:
        assert reader.read() == "a\n"


def test_a_stream_without_a_file(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    write(logger, ["a", "b"])
    assert stream.getvalue() == "a\nb\n"


def parent_with(*handlers: logging.Handler) -> logging.Logger:
    parent = logging.Logger("parent")  # noqa: LOG001
    for handler in handlers:
        parent.addHandler(handler)
    return parent


def test_propagation_to_nobody_is_plain(logger: logging.Logger) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.propagate, logger.parent = True, parent_with()
    assert plain_handler(logger) is logger.handlers[0]
    logger.parent.parent = parent_with(logging.NullHandler())
    assert plain_handler(logger) is None
    logger.parent.propagate = False
    assert plain_handler(logger) is logger.handlers[0]


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
        "propagation": lambda logger, handler: vars(logger).update(
            propagate=True, parent=parent_with(logging.NullHandler())
        ),
        "a format of the handler's": lambda logger, handler: setattr(handler, "format", lambda record: "x"),
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
        writer = Lines(logger)
        assert writer.add("a")
        await asyncio.sleep(0)
        logger.addFilter(lambda record: True)
        assert not writer.add("b")
        logger.filters.clear()
        # As at the end of the process.
        assert writer.add("c")
        writer.flush()

    asyncio.run(main())
    assert stream.getvalue() == "a\nb\nc\n"


def test_after_the_loop_there_are_records(logger: logging.Logger) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    loop = asyncio.new_event_loop()
    loop.close()
    assert not Lines(logger, loop).add("late")


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


def test_the_end_of_a_server_is_that_of_its_lines(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))

    async def main() -> None:
        lines = Lines(logger)
        assert lines.add("a")
        other = asyncio.new_event_loop()
        close_lines(other)
        other.close()
        assert stream.getvalue() == ""
        close_lines(asyncio.get_running_loop())
        assert stream.getvalue() == "a\n"

    asyncio.run(main())


def test_the_end_of_the_process_waits_for_a_reader(logger: logging.Logger) -> None:
    reading, writing = os.pipe()
    seen: list[bytes] = []

    def read() -> None:
        while not seen or not seen[-1].endswith(b"last\n"):
            seen.append(os.read(reading, 65536))

    async def main() -> None:
        lines = Lines(logger)
        for number in range(200):
            lines.add(f"{number:0999d}")
        lines.add("last")
        thread = threading.Timer(0.05, read)
        thread.start()
        close_logs()
        thread.join()

    with open(writing, "w", encoding="utf-8") as stream:
        logger.addHandler(logging.StreamHandler(stream))
        asyncio.run(main())
    assert b"".join(seen) == b"".join(b"%0999d\n" % number for number in range(200)) + b"last\n"
    os.close(reading)


def test_a_child_does_not_write_its_parents_lines(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))

    async def main() -> None:
        lines = Lines(logger)
        lines.add("a")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            lines.close()
        assert stream.getvalue() == ""
        lines.close()

    asyncio.run(main())
    assert stream.getvalue() == "a\n"
