"""Measure this project and its peers side by side, in one run: `python -m benchmarks.run --help`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from .environments import Environment, SetupError, ensure
from .load import LoadError, require_tools
from .measure import Plan, Row
from .processes import RunningServer, StartError
from .report import to_json, to_markdown
from .scenarios import SCENARIOS, Scenario
from .servers import SERVERS, Server


def main() -> int:
    options = _parse()
    # The default action of SIGTERM would leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        require_tools()
        server_core, load_core = _cores()
    except LoadError as error:
        return _fail(str(error))
    environments, failures = _set_up(options.servers, options.python)
    if options.setup_only:
        return 1 if failures else 0
    servers = [server for server in options.servers if server.name in environments]
    plan = Plan(options.rounds, options.seconds, options.warm_up, options.connections, load_core)
    rows: list[Row] = []
    # Scenarios of one application share the running servers.
    for _, scenarios in groupby(options.only, key=lambda scenario: scenario.app):
        rows += _run_app(list(scenarios), servers, environments, plan, server_core)
    markdown = to_markdown(rows, plan, environments)
    print(markdown)
    if options.markdown:
        options.markdown.write_text(markdown)
    if options.json:
        options.json.write_text(json.dumps(to_json(rows, plan, environments), indent=1) + "\n")
    invalid = [f"{row.scenario.name}, {row.server}: {row.invalid}" for row in rows if row.invalid]
    for line in failures + invalid:
        _say(f"failed: {line}")
    return 1 if failures or invalid else 0


def _set_up(servers: Iterable[Server], python: str) -> tuple[dict[str, Environment], list[str]]:
    environments, failures = {}, []
    for server in servers:
        _say(f"environment of {server.name}")
        try:
            environments[server.name] = ensure(server, python)
        except SetupError as error:
            failures.append(f"set-up of {server.name}: {error}")
            _say(failures[-1])
    return environments, failures


def _run_app(
    scenarios: list[Scenario], servers: list[Server], environments: dict[str, Environment], plan: Plan, core: int
) -> list[Row]:
    """Start every server once, then measure *scenarios*, which share an app, on them.

    Idle servers take no CPU to speak of.
    """
    app = scenarios[0].app
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        needed = [server for server in servers if any(server.serves(scenario) for scenario in scenarios)]
        running = {
            server.name: stack.enter_context(RunningServer(server, environments[server.name], app, core))
            for server in needed
        }
        not_started: dict[str, str] = {}
        for name, process in running.items():
            try:
                process.wait_ready()
            except StartError as error:
                not_started[name] = f"did not start: {error}"
        for scenario in scenarios:
            mine = [
                Row(scenario, server.name, invalid=not_started.get(server.name, ""))
                for server in needed
                if server.serves(scenario)
            ]
            _run_scenario(mine, running, plan)
            rows += mine
    return rows


def _run_scenario(rows: list[Row], running: dict[str, RunningServer], plan: Plan) -> None:
    """Interleave the servers, so that what disturbs the machine for a while disturbs all of them."""
    for row in rows:
        if not row.invalid:
            plan.prepare(row, running[row.server])
    for number in range(1, plan.rounds + 1):
        for row in rows:
            if not row.invalid:
                plan.measure(row, running[row.server])
            if row.invalid:
                _say(f"{row.scenario.name} {number}/{plan.rounds} {row.server}: invalid: {row.invalid}")
            else:
                last = row.rounds[-1]
                _say(
                    f"{row.scenario.name} {number}/{plan.rounds} {row.server}: {last.requests_per_second:,.0f}/s,"
                    f" {last.cpu_us_per_request:.1f} µs"
                )


def _cores() -> tuple[int, int]:
    """A core for the server and one for the load, of those this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise LoadError("two CPU cores are needed: one for the server, one for the load")
    return cores[0], cores[1]


def _parse() -> argparse.Namespace:
    default_servers = [server for server in SERVERS if server.default]
    others = ", ".join(server.name for server in SERVERS if not server.default)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure this project's workers and their peers side by side: requests per second and the server's"
        " CPU time per request. Needs Linux, two cores, and wrk.",
    )
    parser.add_argument("--rounds", type=_count, help="rounds per server and scenario (default: 5)")
    parser.add_argument("--seconds", type=_count, help="length of a round (default: 2)")
    parser.add_argument("--warm-up", type=_count, default=1, metavar="SECONDS", help="load before round 1 (default: 1)")
    parser.add_argument("--connections", type=_count, default=64, help="keep-alive connections (default: 64)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: to see that everything works")
    parser.add_argument("--only", type=_scenarios, default=list(SCENARIOS), metavar="SCENARIO,...",
                        help=f"of: {', '.join(scenario.name for scenario in SCENARIOS)}")  # fmt: skip
    parser.add_argument("--servers", type=_servers, default=default_servers, metavar="NAME,...",
                        help=f"default: {','.join(s.name for s in default_servers)}; also: {others}")  # fmt: skip
    parser.add_argument("--python", default=sys.executable, help="interpreter of the servers (default: this one)")
    parser.add_argument("--setup-only", action="store_true", help="make the environments and end")
    parser.add_argument("--json", type=_output_file, metavar="FILE", help="write every round's figures")
    parser.add_argument("--markdown", type=_output_file, metavar="FILE", help="write the tables")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a whole number from 1 on: {text!r}")
    return int(text)


def _output_file(text: str) -> Path:
    # Told now, not after the measurement.
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {path.parent}")
    return path


def _scenarios(text: str) -> list[Scenario]:
    wanted = _names(text, [scenario.name for scenario in SCENARIOS])
    return [scenario for scenario in SCENARIOS if scenario.name in wanted]


def _servers(text: str) -> list[Server]:
    wanted = _names(text, [server.name for server in SERVERS])
    return [server for server in SERVERS if server.name in wanted]


def _names(text: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(text: str) -> int:
    _say(text)
    return 2


if __name__ == "__main__":
    sys.exit(main())
