"""What a request costs as connections and workers grow in number: `make bench BENCH=--growth`.

Connections: a hundred of them are under load, and all others have had an answer and are idle. Workers: 64 connections
are under load, and servers and load share all cores. Servers and points are interleaved in each round, so that what
disturbs the machine for a while disturbs all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from .descriptors import raise_limit
from .environments import Environment
from .idle_http import Holder
from .load import LoadError, LoadResult, Wrk
from .measure import CpuMeter, ProcessesChanged
from .options import say
from .processes import RunningServer, StartError
from .scenarios import HELLO, RAW
from .servers import OURS, Server
from .wire import Request, WrongAnswer

__all__ = ["Growth", "connections", "workers"]

CONNECTIONS = (1, 100, 1_000, 5_000, 20_000)
WORKERS = (1, 2, 3, 4)
# Of the connections, so many are under load.
_LOADED = 100
# For each worker count.
_SHARED = 64
# Descriptors that a server needs for other things.
_SPARE = 200

_GET = Wrk(Request("/"), HELLO)


@dataclass
class Growth:
    """CPU microseconds of a request for each server and point, round by round."""

    name: str
    title: str
    x_name: str
    points: tuple[int, ...]
    base: int
    """The point that the last one is compared with."""
    figures: dict[Server, dict[int, list[float]]] = field(default_factory=dict)
    invalid: dict[Server, str] = field(default_factory=dict)

    def add(self, server: Server, point: int, cpu_us: float) -> None:
        self.figures.setdefault(server, {}).setdefault(point, []).append(cpu_us)

    def table(self) -> str:
        """Microseconds and, in parentheses, the ratio to ours at the same point."""
        last = self.points[-1]
        heads = [f"{point:,}" for point in self.points]
        lines = [f"| {self.x_name} | {' | '.join(heads)} | {last:,} to {self.base:,} |"]
        lines.append("|---|" + "---:|" * (len(heads) + 1))
        medians = {
            server: {point: median(values) for point, values in points.items()}
            for server, points in self.figures.items()
            if server not in self.invalid
        }
        ours = next((points for server, points in medians.items() if server.name == OURS), None)
        for server in [*self.figures, *(each for each in self.invalid if each not in self.figures)]:
            if server in self.invalid:
                why = self.invalid[server].splitlines()[0].replace("|", "/")
                lines.append(f"| {server.title} | invalid: {why} |" + " |" * len(heads))
                continue
            mine = medians[server]
            cells = []
            for point in self.points:
                ratio = f" ({mine[point] / ours[point]:.2f}x)" if ours and ours is not mine else ""
                cells.append(f"{mine[point]:.1f}{ratio}")
            lines.append(f"| {server.title} | {' | '.join(cells)} | {mine[last] / mine[self.base]:.2f}x |")
        return "\n".join(lines)


def connections(
    servers: Iterable[Server],
    environments: dict[str, Environment],
    rounds: int,
    seconds: int,
    cores: tuple[int, int],
) -> Growth:
    """One worker each, on a core of its own."""
    most = raise_limit(CONNECTIONS[-1] + _SPARE) - _SPARE
    points = tuple(sorted({min(point, most) for point in CONNECTIONS}))
    if most < CONNECTIONS[-1]:
        say(f"the limit of open files allows for {most:,} connections")
    growth = Growth(
        "connections-open", "CPU for a request, 100 connections under load, the others idle", "Connections", points, 100
    )
    with contextlib.ExitStack() as stack:
        running = {
            server: stack.enter_context(RunningServer(server.for_crowds(), environments[server.name], RAW, cores[0]))
            for server in servers
        }
        holders = {server: stack.enter_context(Holder(process.port, cores[1])) for server, process in running.items()}
        _wait_ready(growth, running)
        for _ in range(rounds):
            for point in points:
                for server, process in running.items():
                    crowd = _Crowd(process, holders[server], point, seconds, cores[1])
                    with process.awake():
                        _try(growth, server, point, crowd.measure)
            with contextlib.ExitStack() as awake:
                for server, holder in holders.items():
                    awake.enter_context(running[server].awake())
                    with contextlib.suppress(LoadError):
                        holder.ask("close")
                # Servers that see thousands of connections end have something to do.
                time.sleep(2)
    return growth


def workers(
    servers: Iterable[Server], environments: dict[str, Environment], rounds: int, seconds: int, load_core: int
) -> Growth:
    """One to four workers each, which run all the time, or are halted: those that have no load take next to no CPU."""
    growth = Growth("workers", "CPU for a request, 64 connections", "Workers", WORKERS, 1)
    with contextlib.ExitStack() as stack:
        running = {
            (server, number): stack.enter_context(
                RunningServer(server.with_workers(number), environments[server.name], RAW, None)
            )
            for server in servers
            for number in WORKERS
        }
        for number in WORKERS:
            _wait_ready(growth, {each: process for (each, its), process in running.items() if its == number})
        for _ in range(rounds):
            for number in WORKERS:
                for (server, its), process in running.items():
                    if its == number:
                        with process.awake():
                            _try(growth, server, number, partial(_measure, process, _SHARED, seconds, load_core))
    return growth


@dataclass(frozen=True)
class _Crowd:
    """A number of connections to a server, most of them idle."""

    process: RunningServer
    holder: Holder
    number: int
    seconds: int
    core: int

    def measure(self) -> float:
        idle = max(0, self.number - _LOADED)
        self.holder.ask("open", idle)
        cpu = _measure(self.process, min(self.number, _LOADED), self.seconds, self.core)
        if (kept := self.holder.ask("count")) < idle:
            raise LoadError(f"{idle - kept} of {idle} idle connections were closed")
        return cpu


def _wait_ready(growth: Growth, running: dict[Server, RunningServer]) -> None:
    for server, process in running.items():
        try:
            process.wait_ready()
            _GET.check(process.port)
        except (StartError, WrongAnswer) as error:
            growth.invalid[server] = f"did not start: {error}"
        process.halt()


def _measure(process: RunningServer, clients: int, seconds: int, core: int) -> float:
    """CPU microseconds of a request."""
    # Connections that are just being accepted, and those that have just ended, are not in the figure.
    _load(process, clients, 1, core)
    meter = CpuMeter(process.pid)
    result = _load(process, clients, seconds, core)
    return meter.elapsed_ns() / 1e3 / result.requests


def _load(process: RunningServer, clients: int, seconds: int, core: int) -> LoadResult:
    result = _GET.run(process.port, connections=clients, seconds=seconds, core=core)
    if result.failed or not result.requests:
        raise LoadError(result.failed or "no request was answered")
    return result


def _try(growth: Growth, server: Server, point: int, measure: Callable[[], float]) -> None:
    """What fails makes the row invalid; nothing is done for one that already is."""
    if server in growth.invalid:
        return
    try:
        cpu = measure()
    except (LoadError, ProcessesChanged) as error:
        growth.invalid[server] = str(error)
        say(f"{growth.name} {point} {server.name}: invalid: {error}")
        return
    growth.add(server, point, cpu)
    say(f"{growth.name} {point} {server.name}: {cpu:.1f} µs")
