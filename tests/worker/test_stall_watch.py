"""What a blocked worker leaves in the log."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.worker.stall_watch import StallWatch, describe_stall, enable_trace


class TestStacks:
    @pytest.fixture
    def enabled(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What faulthandler was told to write to."""
        files: list[Any] = []
        monkeypatch.setattr("faulthandler.enable", lambda file, all_threads: files.append((file, all_threads)))
        return files

    def test_it_goes_to_the_stream_of_the_error_log(
        self, logger: logging.Logger, enabled: list[Any], tmp_path: Path
    ) -> None:
        handler = logging.FileHandler(tmp_path / "error.log")
        logger.addHandler(handler)
        enable_trace(logger)
        assert enabled == [(handler.stream, True)]

    def test_a_handler_without_a_descriptor_is_passed_over(
        self, logger: logging.Logger, enabled: list[Any], tmp_path: Path
    ) -> None:
        class Odd:
            def fileno(self) -> int:
                return -1

        closed = (tmp_path / "closed.log").open("w")
        closed.close()
        streams: list[Any] = [Odd(), object(), closed]
        for stream in streams:
            logger.addHandler(logging.StreamHandler(stream))
        logger.addHandler(logging.NullHandler())
        handler = logging.FileHandler(tmp_path / "error.log")
        logger.addHandler(handler)
        enable_trace(logger)
        assert enabled == [(handler.stream, True)]

    def test_without_any_it_is_stderr(
        self, logger: logging.Logger, enabled: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with (tmp_path / "stderr").open("w") as stream:
            monkeypatch.setattr(sys, "stderr", stream)
            enable_trace(logger)
            assert enabled == [(stream, True)]

    def test_a_pipe_that_nobody_reads_holds_nobody_up(self, logger: logging.Logger, enabled: list[Any]) -> None:
        reading, writing = os.pipe()
        with open(reading, "rb"), open(writing, "w") as stream:
            logger.addHandler(logging.StreamHandler(stream))
            enable_trace(logger)
            enable_trace(logger)
            ((first, _), (second, _)) = enabled
            assert not os.get_blocking(second)
            assert os.path.samestat(os.fstat(second), os.fstat(writing))
            assert os.get_blocking(writing)
            # As the logs are opened again, so is it.
            assert first == second or not Path(f"/proc/self/fd/{first}").exists()
            logger.handlers = [logging.FileHandler(os.devnull)]
            enable_trace(logger)
            assert not Path(f"/proc/self/fd/{second}").exists()

    @pytest.mark.parametrize("piped", [False, True])
    def test_a_python_that_can_write_none_is_no_error(
        self, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, piped: bool
    ) -> None:
        """Its stack for signals is too small for the processor, say."""

        def enable(file: Any, all_threads: bool) -> None:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr("faulthandler.enable", enable)
        reading, writing = os.pipe() if piped else (os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
        with open(reading, "rb"), open(writing, "w") as stream:
            logger.addHandler(logging.StreamHandler(stream))
            enable_trace(logger)
            spare = os.dup(reading)
            os.close(spare)
            enable_trace(logger)
            again = os.dup(reading)
            os.close(again)
            assert again == spare

    def test_nowhere_to_write_is_no_error(
        self, logger: logging.Logger, enabled: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stderr", None)
        enable_trace(logger)
        assert enabled == []


class TestStall:
    @pytest.fixture
    def loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()

    def server(self, loop: asyncio.AbstractEventLoop, *targets: bytes) -> Any:
        scope = {"type": "http", "method": "GET", "client": ("192.0.2.7", 50123)}
        now = time.monotonic()
        cycles = [
            SimpleNamespace(scope=scope, target=target, started=now - 5 - number, task=object())
            for number, target in enumerate(targets)
        ]
        return SimpleNamespace(started=True, own_runtime=SimpleNamespace(cycles=cycles, loop=loop))

    def test_while_it_starts(self) -> None:
        text = describe_stall(SimpleNamespace(started=False), 30.04)  # type: ignore[arg-type]
        assert text == "The event loop has stood still for 30.0 s, before the application was started."

    def test_with_nothing_in_flight(self, loop: asyncio.AbstractEventLoop) -> None:
        text = describe_stall(self.server(loop), 30)
        assert text == "The event loop has stood still for 30.0 s, with no request in flight."

    def test_each_request_has_a_line(self, loop: asyncio.AbstractEventLoop) -> None:
        text = describe_stall(self.server(loop, b"/a", b"/b?c=d"), 30)
        assert text.split("\n") == [
            "The event loop has stood still for 30.0 s, with 2 requests in flight:",
            "  GET /b?c=d for 6.0 s, from 192.0.2.7:50123",
            "  GET /a for 5.0 s, from 192.0.2.7:50123",
        ]

    def test_of_many_the_one_that_has_the_loop_is_named(
        self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = self.server(loop, *(b"/%d" % number for number in range(60)))
        # The youngest, which would be left out.
        monkeypatch.setattr(
            "uvicorn_worker.worker.stall_watch.running_task", lambda _: server.own_runtime.cycles[0].task
        )
        lines = describe_stall(server, 30).split("\n")
        assert lines[1] == "  GET /0 for 5.0 s, from 192.0.2.7:50123 (it has the event loop)"
        assert len(lines) == 1 + 1 + 50 + 1
        assert lines[-1] == "  and 9 more"


class TestStallWatch:
    def test_it_reports_once_for_each_stall(self) -> None:
        beat, reports, reported = [time.monotonic()], [], threading.Event()

        def report() -> None:
            reports.append(beat[0])
            reported.set()

        watch = StallWatch(0.05, lambda: beat[0], report)
        watch.start()
        assert reported.wait(10)
        # The signal comes after that: it is not said again.
        watch.report()
        reported.clear()
        beat[0] = time.monotonic()
        assert reported.wait(10)
        watch.stop()
        assert len(reports) == 2
        assert len(set(reports)) == 2

    def test_a_moment_later_it_is_stuck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("uvicorn_worker.worker.stall_watch._STUCK_SECONDS", 0.01)
        steps: list[str] = []
        stuck = threading.Event()

        def is_stuck() -> None:
            steps.append("stuck")
            stuck.set()

        watch = StallWatch(0.02, lambda: 0.0, lambda: steps.append("stalled"), is_stuck)
        watch.start()
        assert stuck.wait(10)
        watch.stop()
        assert steps == ["stalled", "stuck"]

    def test_a_heartbeat_in_the_last_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("uvicorn_worker.worker.stall_watch._STUCK_SECONDS", 0.01)
        beat, reported, stuck = [0.0], threading.Semaphore(0), list[int]()

        def report() -> None:
            beat[0] += 1.0
            reported.release()

        watch = StallWatch(0.01, lambda: beat[0], report, lambda: stuck.append(1))
        watch.start()
        for _ in range(3):
            assert reported.acquire(timeout=10)
        watch.stop()
        assert stuck == []

    def test_it_can_be_started_again(self) -> None:
        def threads() -> list[threading.Thread]:
            return [thread for thread in threading.enumerate() if thread.name == "uvicorn-worker-stall"]

        watch = StallWatch(60, time.monotonic, lambda: None)
        watch.start()
        watch.start()
        assert len(threads()) == 1
        watch.stop()
        watch.stop()
        assert threads() == []
        watch.start()
        assert len(threads()) == 1
        watch.stop()

    def test_a_report_that_ends_it(self) -> None:
        """As one would that forks: the thread does not wait for itself."""
        reported = threading.Event()

        def report() -> None:
            watch.stop()
            reported.set()

        watch = StallWatch(0.01, lambda: 0.0, report)
        watch.start()
        assert reported.wait(10)

    def test_a_heartbeat_in_time_is_no_stall(self) -> None:
        reports: list[int] = []
        watch = StallWatch(60, time.monotonic, lambda: reports.append(1))
        watch.start()
        (thread,) = (each for each in threading.enumerate() if each.name == "uvicorn-worker-stall")
        watch.stop()
        assert not thread.is_alive()
        assert thread.daemon
        assert reports == []
