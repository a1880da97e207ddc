"""The figures as Markdown tables and as JSON."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .environments import Environment
from .load import wrk_version
from .measure import Plan, Row
from .scenarios import SCENARIOS
from .servers import OURS, SERVERS, Server

# The packages a reader wants to know the versions of; the JSON has all of them.
_NAMED = ("gunicorn", "uvloop", "httptools", "h11", "h2", "hpack", "gunicorn_h1c", "uvicorn", "uvicorn-worker", "zttp",
          "websockets", "wsproto", "granian", "Hypercorn", "fastapi", "starlette", "pydantic", "Django", "litestar",
          "Quart")  # fmt: skip

_SERVERS = {server.name: server for server in SERVERS}


def machine() -> dict[str, Any]:
    model = platform.processor() or "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "wrk": wrk_version()}


def to_json(rows: list[Row], plan: Plan, environments: dict[str, Environment]) -> dict[str, Any]:
    """Everything measured, round by round, with what it was measured on."""
    return {
        "machine": machine(),
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "connections": plan.connections},
        "servers": {
            server.name: {
                "title": server.title,
                "command": server.command,
                "python": environments[server.name].python,
                "packages": environments[server.name].packages,
                "notes": environments[server.name].notes,
            }
            for server in SERVERS
            if server.name in environments
        },
        "rows": [_row_to_json(row) for row in rows],
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "scenario": row.scenario.name,
        "server": row.server,
        "unit": row.scenario.unit,
        "invalid": row.invalid,
    }
    if row.rounds and not row.invalid:
        entry |= {
            "requests_per_second": row.requests_per_second,
            "cpu_us_per_request": row.cpu_us_per_request,
            "spread": row.spread,
            "p99_ms": row.p99_ms,
        }
    entry["rounds"] = [
        {
            "requests_per_second": one.requests_per_second,
            "cpu_us_per_request": one.cpu_us_per_request,
            "cpu_ns": one.cpu_ns,
            **asdict(one.load),
        }
        for one in row.rounds
    ]
    return entry


def to_markdown(rows: list[Row], plan: Plan, environments: dict[str, Environment]) -> str:
    """A table for each scenario, then what it was measured on."""
    sections = []
    for scenario in SCENARIOS:
        mine = [row for row in rows if row.scenario is scenario]
        if mine:
            sections.append(f"### {scenario.name}: {scenario.title}\n\n{table(mine)}")
    sections.append(facts(plan, environments))
    return "\n\n".join(sections) + "\n"


def table(rows: list[Row]) -> str:
    """One scenario's."""
    ours = next((row for row in rows if row.server == OURS and not row.invalid), None)
    unit = rows[0].scenario.unit
    lines = [
        f"| Server | {unit}s/s | CPU µs/{unit} | spread | {unit}s/s vs ours | CPU vs ours | p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        title = _SERVERS[row.server].title_for(row.scenario.app)
        if row.invalid:
            lines.append(f"| {title} | invalid: {row.invalid.splitlines()[0].replace('|', '/')} | | | | | |")
            continue
        bound = "≥ " if row.load_bound else ""
        per_second, rate = f"{bound}{row.requests_per_second:,.0f}", "—"
        if row.cut_short:
            per_second = "closes connections"
        elif ours:
            rate = f"{row.requests_per_second / ours.requests_per_second:.2f}x"
        cpu = f"{row.cpu_us_per_request / ours.cpu_us_per_request:.2f}x" if ours else "—"
        figures = [per_second, f"{row.cpu_us_per_request:.1f}", f"{row.spread:.0%}", rate, cpu, f"{row.p99_ms:.2f}"]
        lines.append(f"| {' | '.join([title, *figures])} |")
    return "\n".join(lines)


def facts(plan: Plan, environments: dict[str, Environment]) -> str:
    """What the tables say, and what they were measured on."""
    on = machine()
    pythons = sorted({environment.python for environment in environments.values()})
    explanation = (
        f"Medians of {plan.rounds} rounds of {plan.seconds} s, {plan.connections} connections where no other"
        " number is given; spread is the largest minus the smallest CPU time per request, divided by the median."
        " The columns `vs ours` are the server's figure divided by ours: with `CPU vs ours` at `1.70x` it takes"
        " 1.7 times as much CPU time. `≥` marks rates that the load generator bounds, since its core was full. A"
        " WebSocket message is counted when its echo is back. A server that `closes connections` does so after a"
        " number of requests; h2load makes no"
        " new ones, so there is no rate."
    )
    lines = [
        f"- CPU: {on['cpu']}, {on['cores']} cores (server and load on one each), Linux {on['kernel']}",
        f"- Python: {', '.join(pythons)}; load by {on['wrk']}",
    ]
    for name, environment in environments.items():
        server = _SERVERS[name]
        versions = ", ".join(_versions(server, environment.packages))
        lines.append(f"- {server.title}: {'; '.join([versions, *environment.notes])}")
    return "\n".join([explanation, "", *lines])


def _versions(server: Server, packages: dict[str, str]) -> list[str]:
    """What was asked for, as it was found; Quart brings Hypercorn, and all that it needs, into each environment."""
    asked = {re.split(r"[^\w.-]", each)[0].lower() for each in (*server.requirements, *server.optional)}
    return [f"{package} {packages[package]}" for package in _NAMED if package in packages and package.lower() in asked]
