"""One round of one server in one scenario: requests, and the CPU time the server took for them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .load import LoadError, LoadResult
from .processes import RunningServer
from .scenarios import Scenario
from .servers import SERVERS
from .wire import WrongAnswer

_CLOSING = frozenset(server.name for server in SERVERS if server.http2_closes)


def process_tree(root: int) -> list[int]:
    """The pids of *root* and of all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue  # It has just ended.
            # The program's name is in parentheses and may hold anything; what follows starts with state and parent.
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def process_cpu_ns(pid: int) -> int:
    """Nanoseconds of CPU, user and system, that all threads of *pid* have used, ended threads included.

    This is the process's CPU-time clock, whose number is made from the pid as clock_getcpuclockid(3) does it on Linux.
    It counts what the scheduler accounted, where utime and stime of /proc/PID/stat count clock ticks.
    """
    cpuclock_sched = 2
    return time.clock_gettime_ns((~pid << 3) | cpuclock_sched)


class ProcessesChanged(Exception):
    """A process of the server came or went, so the CPU time of the round is not known."""


class CpuMeter:
    """CPU time of a process tree since the meter was made."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._before = self._read()

    def _read(self) -> dict[int, int]:
        try:
            return {pid: process_cpu_ns(pid) for pid in process_tree(self._root)}
        except OSError as error:
            raise ProcessesChanged("a server process ended") from error

    def elapsed_ns(self) -> int:
        after = self._read()
        if after.keys() != self._before.keys():
            raise ProcessesChanged("server processes came or went")
        return sum(after.values()) - sum(self._before.values())


@dataclass(frozen=True)
class Round:
    load: LoadResult
    cpu_ns: int

    @property
    def requests_per_second(self) -> float:
        return self.load.requests / self.load.seconds

    @property
    def cpu_us_per_request(self) -> float:
        return self.cpu_ns / 1e3 / self.load.requests


@dataclass
class Row:
    """All rounds of one server in one scenario. `invalid` says why they must not be used; empty when they may."""

    scenario: Scenario
    server: str
    rounds: list[Round] = field(default_factory=list)
    invalid: str = ""

    @property
    def requests_per_second(self) -> float:
        return median(one.requests_per_second for one in self.rounds)

    @property
    def cpu_us_per_request(self) -> float:
        return median(one.cpu_us_per_request for one in self.rounds)

    @property
    def spread(self) -> float:
        """Largest minus smallest CPU per request, as a share of the median."""
        values = [one.cpu_us_per_request for one in self.rounds]
        return (max(values) - min(values)) / self.cpu_us_per_request

    @property
    def p99_ms(self) -> float:
        """Milliseconds in which 99 of 100 requests were answered."""
        return median(one.load.latency_p99_ms for one in self.rounds)

    @property
    def load_bound(self) -> bool:
        """The load generator's core was full: the server could answer more requests per second than were asked."""
        return median(one.load.busy for one in self.rounds) > 0.95

    @property
    def cut_short(self) -> bool:
        """The server closed connections after so many requests that the rounds were over early: it has no rate."""
        return any(one.load.unanswered for one in self.rounds)


@dataclass(frozen=True)
class Plan:
    """How long, and from where, load is put on a server."""

    rounds: int
    seconds: int
    warm_up: int
    connections: int
    load_core: int

    def prepare(self, row: Row, running: RunningServer) -> None:
        """Check the answers and warm the server up; what fails makes the row invalid."""
        try:
            row.scenario.load.check(running.port)
            self._load(row, running, self.warm_up)
        except (WrongAnswer, LoadError) as error:
            row.invalid = str(error)

    def measure(self, row: Row, running: RunningServer) -> None:
        """Add one round to *row*; what fails makes the row invalid."""
        try:
            meter = CpuMeter(running.pid)
            result = self._load(row, running, self.seconds)
            row.rounds.append(Round(result, meter.elapsed_ns()))
        except (LoadError, ProcessesChanged) as error:
            row.invalid = str(error)

    def _load(self, row: Row, running: RunningServer, seconds: int) -> LoadResult:
        load = row.scenario.load
        connections = row.scenario.connections or self.connections
        result = load.run(running.port, connections=connections, seconds=seconds, core=self.load_core)
        if result.failed or not result.requests:
            raise LoadError(result.failed or "no request was answered")
        if result.unanswered and row.server not in _CLOSING:
            raise LoadError(f"{result.unanswered} requests on connections that were closed")
        return result
