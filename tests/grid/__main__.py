"""Run the grid, and write what was seen: `python -m tests.grid [--tools] [--ci] [--peer] [--python PATH] [NAME ...]`.

Each framework is served by each of the workers, as Gunicorn serves it, and used by real clients. What is seen goes to
`tests/grid/results.json`, from which `docs/generate.py` makes the tables of docs/frameworks.md; with --peer, and with
names without --write, nothing is written. The exit code is 1 when something fails that is not known to.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.e2e.harness import Gunicorn, alive, until
from tests.grid.checks import CHECKS, Subject
from tests.grid.entries import ENTRIES, FEATURES, IN_CI, Entry
from tests.grid.environments import Environment, NotInstalled, peer
from tests.grid.tools import TOOLS, Tool

RESULTS = Path(__file__).with_name("results.json")
APPS = Path(__file__).with_name("apps")

#: The worker class of each way, and whether it is spoken to over HTTP/2.
WAYS = {
    "httptools": ("uvicorn_worker.UvicornWorker", False),
    "h11": ("uvicorn_worker.UvicornH11Worker", False),
    "HTTP/2": ("uvicorn_worker.UvicornH2CWorker", True),
}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def features_of(entry: Entry) -> list[str]:
    own = set() if entry.client else {"own client"}
    return [feature for feature in FEATURES if feature not in entry.lacks | own]


def _is_up(entry: Entry) -> str:
    """What PyPI's worker says when it serves: that it has booted, where there is no lifespan."""
    return "Booting worker" if "lifespan" in entry.lacks else "Application startup complete"


def serve(entry: Entry, environment: Environment, way: str, *, as_peer: bool, verbose: bool) -> dict[str, str]:
    """What each feature came to: a word of success, or "no: " and why not."""
    worker, http2 = WAYS[way]
    env = {**entry.environment, **(peer(environment) if as_peer else {})}
    options = ("--pythonpath", str(APPS), "--timeout", "300", "--graceful-timeout", "5", *entry.options)
    seen: dict[str, str] = {}
    with Gunicorn(entry.app, *options, worker=worker, env=env, python=str(environment.python), files={}) as server:
        try:
            up = _is_up(entry) if as_peer else "Ready in"
            until(lambda: up in server.log or not alive(server.pid), "the start", 240)
            assert up in server.log
        except AssertionError:
            say(server.log[-3000:])
            return dict.fromkeys(features_of(entry), "no: it does not start")
        subject = Subject(entry, environment, server, http2=http2)
        for feature in features_of(entry):
            started = time.monotonic()
            try:
                seen[feature] = CHECKS[feature](subject) or "yes"
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is what was seen
                seen[feature] = f"no: {str(exc).strip() or type(exc).__name__}"[:300]
                if verbose:
                    say(traceback.format_exc())
            if verbose:
                say(f"    {feature}: {time.monotonic() - started:.1f} s")
        if verbose and any(word.startswith("no") for word in seen.values()):
            say(server.log[-6000:])
    return seen


def run(entry: Entry, options: argparse.Namespace) -> dict[str, Any]:
    say(entry.name)
    environment = Environment(entry.name, entry.packages, options.python)
    environment.make()
    python, versions = environment.versions("gunicorn")
    seen = {}
    for way in WAYS if not options.peer else ("httptools", "h11"):
        started = time.monotonic()
        seen[way] = serve(entry, environment, way, as_peer=options.peer, verbose=options.verbose)
        failed = {feature: word for feature, word in seen[way].items() if word.startswith("no")}
        leaves = f"; client leaves: {seen[way]['client leaves']}" if "client leaves" in seen[way] else ""
        say(f"  {way:10} {time.monotonic() - started:5.1f} s  {'not all' if failed else 'all well'}{leaves}")
        for feature, word in failed.items():
            say(f"             {feature}: {word}")
    return {"python": python, "versions": versions, "seen": seen, "lacks": sorted(entry.lacks), "note": entry.note}


def run_tool(tool: Tool, options: argparse.Namespace) -> dict[str, Any]:
    environment = Environment(tool.packages[0], tool.packages, options.python)
    environment.make()
    python, versions = environment.versions("gunicorn")
    try:
        seen = f"yes: {tool.check(environment)}"
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is what was seen
        seen = f"no: {str(exc).strip() or type(exc).__name__}"[:300]
        if options.verbose:
            say(traceback.format_exc())
    say(f"{tool.name}: {seen}")
    return {"python": python, "versions": versions, "seen": {"tool": {"": seen}}, "needs": tool.needs}


def keep(kind: str, name: str, result: dict[str, Any]) -> None:
    """Write what was seen, in the order of the definitions, beside what was seen of others."""
    written = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"frameworks": {}, "tools": {}}
    written[kind][name] = result
    order = [each.name for each in (*ENTRIES, *TOOLS)]
    written[kind] = {name: written[kind][name] for name in order if name in written[kind]}
    RESULTS.write_text(json.dumps(written, indent=1) + "\n", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.grid")
    parser.add_argument("names", nargs="*", help="frameworks; all of them where none is named")
    parser.add_argument("--ci", action="store_true", help=f"those that run in CI: {', '.join(IN_CI)};"
                        " one that can't be installed is left out")  # fmt: skip
    parser.add_argument("--tools", action="store_true", help="tools of operation in the place of frameworks")
    parser.add_argument("--peer", action="store_true", help="serve with PyPI's uvicorn-worker, to see what differs")
    parser.add_argument("--python", default=sys.executable, help="the Python that the environments are made with")
    parser.add_argument("--write", action="store_true", help="write what was seen also where only some were named")
    parser.add_argument("--verbose", action="store_true", help="tracebacks and logs of what fails")
    options = parser.parse_args()
    wanted = IN_CI if options.ci else options.names
    known = {each.name for each in (TOOLS if options.tools else ENTRIES)}
    if unknown := set(wanted) - known:
        parser.error(f"there is no {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    kept = options.write or not (wanted or options.peer)
    results: dict[str, Any] = {}
    for each in TOOLS if options.tools else ENTRIES:
        if not wanted or each.name in wanted:
            try:
                result = run_tool(each, options) if isinstance(each, Tool) else run(each, options)
            except NotInstalled as error:
                if not options.ci:
                    raise
                # A registry that does not answer, or has no wheel for this Python, is no fault of what is tested.
                say(f"  not seen: {error}")
                continue
            results[each.name] = result
            if kept:
                keep("tools" if options.tools else "frameworks", each.name, result)
    words = [word for result in results.values() for seen in result["seen"].values() for word in seen.values()]
    return int(any(word.startswith("no") for word in words))


if __name__ == "__main__":
    sys.exit(main())
