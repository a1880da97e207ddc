"""Measure this project and its peers side by side, in one run: `python -m benchmarks.run --help`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from itertools import groupby

from . import growth, pages
from .environments import Environment
from .load import LoadError, require_tools
from .measure import Plan, Row
from .options import add_servers, count, names, output_file, say, set_up
from .processes import RunningServer, StartError
from .report import table, to_json, to_markdown
from .scenarios import SCENARIOS, Scenario
from .servers import SERVERS, Server


def main() -> int:
    options = _parse()
    # The default action of SIGTERM would leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        require_tools()
        first_core, load_core = _cores()
    except LoadError as error:
        return _fail(str(error))
    environments, failures = set_up(options.servers, options.python)
    if options.setup_only:
        return 1 if failures else 0
    servers = [server for server in options.servers if server.name in environments]
    if options.growth:
        return _growth(options, servers, environments, (first_core, load_core), failures)
    server_core: int | None = first_core
    if options.workers > 1:
        servers = [server.with_workers(options.workers) for server in servers if server.asgi]
        server_core = None
    plan = Plan(options.rounds, options.seconds, options.warm_up, options.connections, load_core)
    rows: list[Row] = []
    # Scenarios of one application share the running servers.
    for _, scenarios in groupby(options.only, key=lambda scenario: scenario.app):
        rows += _run_app(list(scenarios), servers, environments, plan, server_core)
    markdown = to_markdown(rows, plan, environments)
    print(markdown)
    if options.markdown:
        options.markdown.write_text(markdown)
    if options.docs:
        by_scenario = {row.scenario: [other for other in rows if other.scenario is row.scenario] for row in rows}
        _to_docs({scenario.name: table(its) for scenario, its in by_scenario.items()})
    if options.json:
        options.json.write_text(json.dumps(to_json(rows, plan, environments), indent=1) + "\n")
    invalid = [f"{row.scenario.name}, {row.server}: {row.invalid}" for row in rows if row.invalid]
    for line in failures + invalid:
        say(f"failed: {line}")
    return 1 if failures or invalid else 0


def _growth(
    options: argparse.Namespace,
    servers: list[Server],
    environments: dict[str, Environment],
    cores: tuple[int, int],
    failures: list[str],
) -> int:
    """The tables of growth, printed and put into the documentation."""
    servers = [server for server in servers if server.asgi]
    found = [
        growth.connections(servers, environments, options.rounds, options.seconds, cores),
        growth.workers(servers, environments, options.rounds, options.seconds, cores[1]),
    ]
    markdown = "\n\n".join(f"### {each.name}: {each.title}\n\n{each.table()}" for each in found) + "\n"
    print(markdown)
    if options.markdown:
        options.markdown.write_text(markdown)
    if options.docs:
        _to_docs({each.name: each.table() for each in found})
    invalid = [f"{each.name}, {server.name}: {why}" for each in found for server, why in each.invalid.items()]
    for line in failures + invalid:
        say(f"failed: {line}")
    return 1 if failures or invalid else 0


def _to_docs(tables: dict[str, str]) -> None:
    for name in pages.write(tables):
        say(f"docs/performance.md has no table of {name}")


def _run_app(
    scenarios: list[Scenario], servers: list[Server], environments: dict[str, Environment], plan: Plan, core: int | None
) -> list[Row]:
    """Start every server once, then measure *scenarios*, which share an app, on them.

    Idle servers take no CPU to speak of, or are halted.
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
            process.halt()
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
            with running[row.server].awake():
                plan.prepare(row, running[row.server])
    for number in range(1, plan.rounds + 1):
        for row in rows:
            if not row.invalid:
                with running[row.server].awake():
                    plan.measure(row, running[row.server])
            if row.invalid:
                say(f"{row.scenario.name} {number}/{plan.rounds} {row.server}: invalid: {row.invalid}")
            else:
                last = row.rounds[-1]
                say(
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
    default_scenarios = [scenario for scenario in SCENARIOS if scenario.default]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure this project's workers and their peers side by side: requests per second and the server's"
        " CPU time per request. Needs Linux, two cores, and wrk.",
    )
    parser.add_argument("--rounds", type=count, help="rounds per server and scenario (default: 5)")
    parser.add_argument("--seconds", type=count, help="length of a round (default: 2)")
    parser.add_argument("--warm-up", type=count, default=1, metavar="SECONDS", help="load before round 1 (default: 1)")
    parser.add_argument("--connections", type=count, default=64, help="keep-alive connections (default: 64)")
    parser.add_argument("--workers", type=count, default=1, help="of each server (default: 1); with more, the servers"
                        " have all cores and share them with the load")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s: to see that everything works")
    others = ", ".join(scenario.name for scenario in SCENARIOS if not scenario.default)
    parser.add_argument("--growth", action="store_true", help="instead of scenarios: the cost of a request over the"
                        " number of connections, and over that of workers")  # fmt: skip
    parser.add_argument("--only", type=_scenarios, default=default_scenarios, metavar="SCENARIO,...",
                        help=f"default: {','.join(s.name for s in default_scenarios)}; also: {others}")  # fmt: skip
    add_servers(parser, default_servers)
    parser.add_argument("--setup-only", action="store_true", help="make the environments and end")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write every round's figures")
    parser.add_argument("--markdown", type=output_file, metavar="FILE", help="write the tables")
    parser.add_argument("--docs", action=argparse.BooleanOptionalAction, help="put the tables into docs/performance.md,"
                        " and draw its charts anew (default: where all scenarios, or the growth, of all servers are"
                        " measured in full)")  # fmt: skip
    options = parser.parse_args()
    if options.docs is None:
        whole = options.only is default_scenarios and options.workers == 1 and not options.quick
        options.docs = whole and (options.growth or options.servers is default_servers)
    if options.growth and options.servers is default_servers:
        options.servers = [server for server in SERVERS if server.grows]
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    return options


def _scenarios(text: str) -> list[Scenario]:
    wanted = names(text, [scenario.name for scenario in SCENARIOS])
    return [scenario for scenario in SCENARIOS if scenario.name in wanted]


def _fail(text: str) -> int:
    say(text)
    return 2


if __name__ == "__main__":
    sys.exit(main())
