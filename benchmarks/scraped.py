"""What the metrics cost: CPU for a request with metrics_bind scraped once a second, and without it; and for one scrape.

Usage: python -m benchmarks.scraped [--rounds N] [--seconds N]

Two servers in one environment, one worker each, loaded in turns by wrk. The board itself has no switch: it is written
with each tick on both. The CPU of a scrape is that of the server's processes for a thousand of them, one after the
other, and tells more than the rounds where the machine is not quiet: from it follows what once a second takes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .environments import SetupError, ensure
from .load import LoadError
from .measure import CpuMeter, Plan, Row
from .options import count, say
from .processes import RunningServer, StartError
from .scenarios import SCENARIOS
from .servers import OURS, SERVERS, Server

SCRAPES = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scraped")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=count, default=4, help="of one round (4)")
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args()
    plan = Plan(given.rounds, given.seconds, warm_up=1, connections=64, load_core=0)
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder, "metrics.sock")
        off = next(server for server in SERVERS if server.name == OURS)
        on = dataclasses.replace(
            off,
            name="ours-scraped",
            environment=off.environment_name,
            requirements=(*off.requirements, "prometheus-client==0.26.0"),
            command=(*off.command[:-1], "--env", f"UVICORN_METRICS_BIND=unix:{address}", off.command[-1]),
        )
        try:
            return _measure(plan, off, on, address, given.python)
        except (SetupError, StartError, LoadError) as error:
            say(str(error))
            return 1


def _measure(plan: Plan, off: Server, on: Server, address: Path, python: str) -> int:
    environment = ensure(on, python)
    scenario = next(each for each in SCENARIOS if each.name == "get")
    rows = [Row(scenario, "off"), Row(scenario, "on")]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(RunningServer(server, environment, scenario.app, 1)) for server in (off, on)]
        for row, server in zip(rows, running, strict=True):
            server.wait_ready()
            plan.prepare(row, server)
        for _ in range(plan.rounds):
            for row, server in zip(rows, running, strict=True):
                with scraping(address) if row.server == "on" else contextlib.nullcontext():
                    plan.measure(row, server)
            say(
                f"{rows[0].rounds[-1].cpu_us_per_request:.2f} us off, {rows[1].rounds[-1].cpu_us_per_request:.2f} us on"
            )
        meter = CpuMeter(running[1].pid)
        begun = time.monotonic()
        for _ in range(SCRAPES):
            scrape(address)
        scraped, seconds = meter.elapsed_ns(), time.monotonic() - begun
        meter = CpuMeter(running[1].pid)
        time.sleep(min(seconds, 5))
        idle = meter.elapsed_ns() * seconds / min(seconds, 5)
    one = (scraped - idle) / SCRAPES / 1e6
    print("| | CPU for a request, us | spread | requests/s |\n|---|---:|---:|---:|")
    for row in rows:
        print(f"| {row.server} | {row.cpu_us_per_request:.2f} | {row.spread:.0%} | {row.requests_per_second:,.0f} |")
    print(f"\none scrape: {one:.2f} ms of CPU; once a second: {one / 10:.2f} % of a core")
    return 0


@contextlib.contextmanager
def scraping(address: Path) -> Iterator[None]:
    """Ask once a second, from another thread."""
    end = threading.Event()

    def run() -> None:
        while not end.wait(1):
            scrape(address)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def scrape(address: Path) -> bytes:
    """What /metrics says."""
    client = http.client.HTTPConnection("metrics", timeout=20)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(address))
    client.request("GET", "/metrics")
    answer = client.getresponse()
    body = answer.read()
    client.close()
    if answer.status != 200:
        raise LoadError(f"/metrics answers {answer.status}")
    return body


if __name__ == "__main__":
    sys.exit(main())
