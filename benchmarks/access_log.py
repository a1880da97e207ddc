"""What the access log costs: CPU of a request without it, and with lines of several forms to a file, a pipe and stdout.

Usage: python -m benchmarks.access_log [--rounds N] [--seconds N]

One worker each, loaded in turns by wrk with a browser's eleven fields. "file" is a file that the server opens; "stdout"
its standard output where that is a file, "pipe" where it is a pipe that a thread of this program empties.
uvicorn-worker has one form of line, and Granian writes to its standard output alone.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .environments import SetupError, ensure
from .measure import Plan, Row
from .options import count, say
from .processes import RunningServer, StartError
from .scenarios import SCENARIOS
from .servers import OURS, SERVERS, Server

SHORT = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
SINKS = ("file", "pipe", "stdout")
_BY_NAME = {server.name: server for server in SERVERS}


@dataclass(frozen=True)
class Variant:
    """A server with a form of line and a place for it; no form: it writes none."""

    server: Server
    form: str = ""
    sink: str = "stdout"

    def with_command(self, folder: Path) -> Server:
        if not self.form:
            return self.server
        target = str(folder / f"{self.server.name}-{self.form}.log") if self.sink == "file" else "-"
        words = self.server.command
        if self.server.name == "granian":
            # Its lines are of the level info.
            words = tuple({"--no-access-log": "--access-log", "warning": "info"}.get(word, word) for word in words)
        else:
            words = (*words[:-1], *self._gunicorn(target), words[-1])
        return dataclasses.replace(
            self.server, name=f"{self.server.name}-log", environment=self.server.environment_name, command=words
        )

    def _gunicorn(self, target: str) -> list[str]:
        options = ["--access-logfile", target]
        if self.form == "short":
            options += ["--access-logformat", SHORT]
        elif self.server.name == OURS and self.form != "gunicorn":
            options += ["-c", "line_forms.py", "--env", f"TARGET={target}", "--env", f"FORM={self.form}"]
        return options


def variants() -> list[Variant]:
    ours, worker, granian = (_BY_NAME[name] for name in (OURS, "uvicorn-worker", "granian"))
    found = [Variant(ours), Variant(worker), Variant(granian)]
    for sink in SINKS:
        found += [Variant(ours, form, sink) for form in ("gunicorn", "short", "uvicorn", "json")]
        found.append(Variant(worker, "uvicorn", sink))
        if sink != "file":
            found.append(Variant(granian, "own", sink))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access_log")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=count, default=1, help="of one round (1)")
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    plan = Plan(given.rounds, given.seconds, warm_up=1, connections=64, load_core=cores[-1])
    try:
        rows = _measure(plan, given.python, cores[0])
    except (SetupError, StartError) as error:
        say(str(error))
        return 1
    print(_table(rows))
    return 1 if any(row.invalid for row in rows.values()) else 0


def _measure(plan: Plan, python: str, core: int) -> dict[Variant, Row]:
    scenario = next(each for each in SCENARIOS if each.name == "get-browser")
    rows = {variant: Row(scenario, variant.server.name) for variant in variants()}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running = {}
        for number, variant in enumerate(rows):
            environment = ensure(variant.server, python)
            stdout = stack.enter_context(_stdout(variant, Path(folder, str(number))))
            server = RunningServer(variant.with_command(Path(folder)), environment, scenario.app, core, stdout)
            running[variant] = stack.enter_context(server)
        for variant, row in rows.items():
            running[variant].wait_ready()
            plan.prepare(row, running[variant])
        for _ in range(plan.rounds):
            for variant, row in rows.items():
                if not row.invalid:
                    plan.measure(row, running[variant])
                said = row.invalid or f"{row.rounds[-1].cpu_us_per_request:.1f} µs"
                say(f"{variant.server.name} {variant.form or 'off'} {variant.sink}: {said}")
    return rows


@contextlib.contextmanager
def _stdout(variant: Variant, path: Path) -> Iterator[int]:
    """Where the server's standard output goes."""
    if variant.sink != "pipe":
        with path.open("ab") as file:
            yield file.fileno()
        return
    end, begin = os.pipe()

    def empty() -> None:
        while os.read(end, 65536):
            pass

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        yield begin
    finally:
        # The servers have theirs: it ends with the last of them, which was left before this.
        os.close(begin)
        thread.join()
        os.close(end)


def _table(rows: dict[Variant, Row]) -> str:
    lines = ["| Server, form of the line | off | " + " | ".join(SINKS) + " |", "|---|---:|" + "---:|" * len(SINKS)]
    kinds = dict.fromkeys((variant.server, variant.form) for variant in rows if variant.form)

    def cell(row: Row | None, off: Row) -> str:
        if row is None:
            return ""
        if row.invalid:
            return f"invalid: {row.invalid}"
        more = "" if row is off else f" ({row.cpu_us_per_request - off.cpu_us_per_request:+.1f})"
        return f"{row.cpu_us_per_request:.1f}{more}"

    for server, form in kinds:
        off = rows[Variant(server)]
        cells = [cell(off, off), *(cell(rows.get(Variant(server, form, sink)), off) for sink in SINKS)]
        lines.append(f"| {server.title}, {form} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
