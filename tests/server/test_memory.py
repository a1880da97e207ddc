"""limit_max_memory, and what is given back after a peak."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.memory import counts_references
from tests.server.running import App, Running
from tests.sockets import Run
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.server import memory

Log = Callable[..., list[str]]


# Python without the GIL has an allocator of its own (mimalloc) for all it makes.
GLIBC = platform.libc_ver()[0] == "glibc" and sysconfig.get_config_var("Py_GIL_DISABLED") != 1


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory that the process seems to have; looked at often."""
    sizes = [100]
    monkeypatch.setattr(memory, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(memory, "resident_memory", lambda: sizes[0])
    return sizes


def test_the_memory_of_this_process() -> None:
    before = memory.resident_memory()
    # Of the kernel, since the heap may have as much that was freed by another test.
    piece = b"x" * 1048576
    with mmap.mmap(-1, 50 * 1048576) as held:
        for _ in range(50):
            held.write(piece)
        assert 40 <= memory.resident_memory() - before <= 60
    assert before > 5


def test_a_server_that_grows_stops_gracefully(run: Run, log: Log, size: list[int]) -> None:
    app = App()

    async def main() -> None:
        async with Running(app, limit_max_memory=200) as running:
            await asyncio.sleep(0.1)
            assert not running.server.should_exit
            size[0] = 201
            await running.stopped()

    run(main())
    assert app.events == ["startup", "shutdown"]
    assert log(logging.WARNING) == ["Using 201 MiB of memory, more than limit_max_memory = 200, stopping gracefully."]


def test_a_stop_that_is_under_way_is_not_announced_again(run: Run, log: Log, size: list[int]) -> None:
    async def main() -> None:
        async with Running(App(), limit_max_memory=200, timeout_drain_idle=0.3) as running:
            await running.ask(b"")
            running.server.should_exit = True
            size[0] = 300
            await running.stopped()

    run(main())
    assert log(logging.WARNING) == []


def test_a_limit_below_the_size_at_the_start_is_not_applied(run: Run, log: Log, size: list[int]) -> None:
    async def main() -> None:
        async with Running(App(), limit_max_memory=50) as running:
            await asyncio.sleep(0.1)
            assert not running.server.should_exit

    run(main())
    assert log(logging.ERROR) == [
        "limit_max_memory = 50 is less than the 100 MiB that the application takes at its start: not applied."
    ]


def test_where_the_size_can_not_be_known_the_option_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert memory.resident_bytes() == 0
    loop = asyncio.new_event_loop()
    with pytest.raises(ConfigError, match=r"option limit_max_memory = 50: .* can't be read"):
        memory.MemoryWatch(50, print).start(loop)
    loop.close()


def test_elsewhere_than_on_linux_psutil_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=77 << 20))
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    assert memory.resident_memory() == 77
    assert memory.resident_bytes() == 77 << 20


def test_psutil_may_not_know_it_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As without /proc, in a chroot: its own error, which is none of the system's, is no reason not to serve."""

    class Unknown(Exception):
        pass

    def process() -> None:
        raise Unknown

    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=process, Error=Unknown))
    assert memory.resident_bytes() == 0
    with pytest.raises(OSError, match="nor by psutil"):
        memory.resident_memory()


def test_a_look_that_fails_is_not_the_last(run: Run, size: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a descriptor left can't look, and may have much to give back."""

    def resident() -> int:
        if size[0] == 0:
            size[0] = 201
            raise OSError(24, "Too many open files")
        return size[0]

    monkeypatch.setattr(memory, "resident_memory", resident)

    async def main() -> None:
        async with Running(App(), limit_max_memory=200) as running:
            size[0] = 0
            await running.stopped()

    run(main())


class TestGivingBack:
    """What the allocator keeps after a peak goes back to the system."""

    size: int | None = 33

    @pytest.fixture
    def trims(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The size at each trim; it makes the process small again."""
        done: list[int] = []
        self.size = 33

        def trim() -> None:
            done.append(self.size or 0)
            self.size = 40

        monkeypatch.setattr(memory, "_resident_or_none", lambda: self.size)
        monkeypatch.setattr(memory, "_find_trim", lambda: trim)
        return done

    @staticmethod
    def tick(heap: memory.HeapTrim, load: int, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            heap.on_tick(load)

    def test_after_a_peak_and_once(self, trims: list[int]) -> None:
        heap = memory.HeapTrim(OwnLog())
        self.tick(heap, 9600, 10)
        self.size = 518
        self.tick(heap, 9000, 10)
        assert trims == []
        self.tick(heap, 3, 5)
        assert trims == [518]
        self.tick(heap, 3, 60)
        assert trims == [518]

    def test_a_pause_of_a_moment_is_not_the_end(self, trims: list[int]) -> None:
        heap = memory.HeapTrim(OwnLog())
        self.size = 518
        for _ in range(10):
            self.tick(heap, 9000, 2)
            self.tick(heap, 0, 2)
        assert trims == []

    @pytest.mark.parametrize("size", [33, 36])
    def test_not_where_there_is_little_to_give(self, trims: list[int], size: int) -> None:
        heap = memory.HeapTrim(OwnLog())
        self.size = size
        self.tick(heap, 100, 5)
        self.tick(heap, 0, 30)
        assert trims == []

    def test_not_without_a_peak(self, trims: list[int]) -> None:
        heap = memory.HeapTrim(OwnLog())
        self.size = 900
        self.tick(heap, 0, 60)
        assert trims == []

    def test_where_the_size_is_not_known(self, trims: list[int]) -> None:
        self.size = None
        heap = memory.HeapTrim(OwnLog())
        self.tick(heap, 100, 5)
        self.tick(heap, 0, 30)
        assert len(trims) == 1

    def test_an_allocator_that_has_no_call(self, trims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_find_trim", lambda: None)
        heap = memory.HeapTrim(OwnLog())
        self.size = 900
        self.tick(heap, 100, 5)
        self.tick(heap, 0, 30)
        assert self.size == 900

    @pytest.mark.parametrize("name", ["mi_collect", "malloc_trim", "malloc_zone_pressure_relief", None])
    def test_the_call_of_each_allocator(self, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
        called: list[tuple[Any, ...]] = []

        def call(*args: Any) -> None:
            called.append(args)

        monkeypatch.setattr("ctypes.CDLL", lambda path: SimpleNamespace(**({name: call} if name else {})))
        trim = memory._find_trim()
        assert (trim is None) == (name is None)
        if trim is not None:
            trim()
            assert len(called) == 1

    def test_a_system_that_loads_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: None) -> None:
            raise TypeError

        monkeypatch.setattr("ctypes.CDLL", refuse)
        assert memory._find_trim() is None

    @pytest.mark.skipif(not GLIBC, reason="it is glibc that keeps it")
    @counts_references
    def test_for_real(self) -> None:
        code = """
import logging
from uvicorn_worker.server.memory import HeapTrim, resident_memory
heap = HeapTrim(logging.getLogger())
data = [bytes(4000) for _ in range(50_000)]
for _ in range(10):
    heap.on_tick(100)
kept = data[::2_000]
full = resident_memory()
del data
freed = resident_memory()
for _ in range(20):
    heap.on_tick(0)
print(full, freed, resident_memory())
"""
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        full, freed, trimmed = map(int, finished.stdout.split())
        assert freed > full - 50
        assert trimmed < full - 150


@counts_references
@pytest.mark.skipif(not GLIBC, reason="it is glibc that gives it back at once")
def test_what_is_freed_is_kept_for_what_comes_next() -> None:
    """By the page faults of what sixteen uploads in each turn of the loop take."""
    code = """
import resource
from uvicorn_worker.server.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for turn in range(50):
        bodies = [b"x" * 65536 for _ in range(16)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
keep_freed_memory()
print(first, faults())
"""
    bounds = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "PYTHONMALLOC")
    environment = {name: value for name, value in os.environ.items() if name not in bounds}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, finished.stdout.split())
    assert after < before / 5
