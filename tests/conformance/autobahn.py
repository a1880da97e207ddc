"""Run the Autobahn testsuite against both workers: ``python tests/conformance/autobahn.py --help``.

The testsuite's fuzzing client meets real Gunicorn processes that serve ``echo.py``. Every case must end as OK or
INFORMATIONAL; what came out is recorded in ``docs/conformance.md``.

The testsuite is a Python 2 program, so a Python 2.7 is looked for on this machine. What it needs is installed under
``.conformance/`` at the top of the repository, where the logs and the testsuite's own reports are found afterwards.
"""

# ruff: noqa: T201 - it prints what it does

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / ".conformance"
LOGS = WORK / "logs"
REPORTS = WORK / "reports"
REQUIREMENTS = HERE / "autobahn-requirements.txt"
RECORD = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- autobahn: begin -->", "<!-- autobahn: end -->"

WORKERS = {"UvicornWorker": "uvicorn_worker.UvicornWorker", "UvicornH11Worker": "uvicorn_worker.UvicornH11Worker"}
GOOD = {"OK", "INFORMATIONAL"}
#: Sections that take long; each part of them runs by itself.
LONG_SECTIONS = {"9", "12", "13"}

START_SECONDS = 30.0
STOP_SECONDS = 10.0
#: No part takes nearly as long: the testsuite gives up on each case by itself.
PART_SECONDS = 5400.0

# Python 2 from here to the end of these three. site.addsitedir reads the .pth files, without which the packages that
# share the name zope are not found.
_PROBE = """
import platform, sys
assert sys.version_info[:2] == (2, 7), "it is not Python 2.7"
import pip, ssl
print("%s %s" % (platform.python_implementation(), platform.python_version()))
"""
_USE_PACKAGES = """
import site, sys
sys.path.insert(0, sys.argv[1])
site.addsitedir(sys.argv[1])
"""
_CATALOGUE = f"""{_USE_PACKAGES}
import json
import autobahntestsuite
from autobahntestsuite.case import CaseBasename, CaseCategories, Cases, CaseSetname, CaseSubCategories
from autobahntestsuite.caseset import CaseSet
cases = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories).parseSpecCases({{"cases": ["*"]}})
print(json.dumps({{"version": autobahntestsuite.__version__, "sections": CaseCategories, "cases": cases}}))
"""
_WSTEST = f"""{_USE_PACKAGES}
sys.argv = ["wstest", "--mode", "fuzzingclient", "--spec", sys.argv[2]]
from autobahntestsuite.wstest import run
run()
"""


class SetupError(Exception):
    """The testsuite, or a server to test, can't be had."""


# Python 2 and the testsuite ------------------------------------------------------------------------------


def find_python2(named: str | None) -> tuple[str, str]:
    """A Python 2.7 with pip and ssl, and its name and version.

    A name on PATH proves nothing (pyenv leaves shims of versions that are not active), so each candidate is run.
    """
    candidates = [named] if named else list(dict.fromkeys(_python2_candidates()))
    tried = []
    for candidate in candidates:
        try:
            probe = subprocess.run(
                [candidate, "-E", "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True
            )
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
            # A traceback ends with what matters; what pyenv's shims say begins with it.
            tried.append(f"  {candidate}: {lines[-1 if lines[0].startswith('Traceback') else 0]}")
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"  {candidate}: {error}")
        else:
            return candidate, probe.stdout.strip()
    raise SetupError(
        "The Autobahn testsuite needs Python 2.7 with pip and ssl, and none was found. "
        "`pyenv install 2.7.18` makes one; name one that is elsewhere with --python2.\n"
        + ("\n".join(["Tried:", *tried]) if tried else "There was nothing of that name to try.")
    )


def _python2_candidates() -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for name, pattern in (("python2.7", "2.7*/bin/python2.7"), ("pypy2.7", "pypy2.7*/bin/pypy")):
        if path := shutil.which(name):
            yield path
        yield from sorted((str(path) for path in pyenv.glob(pattern)), reverse=True)
    for name in ("python2", "pypy"):
        if path := shutil.which(name):
            yield path


@dataclass(frozen=True)
class Testsuite:
    """The installed testsuite: how to call it, and what it has."""

    python: str
    packages: Path
    version: str
    sections: dict[str, str]
    cases: list[str]

    def client(self, spec: Path) -> list[str]:
        return [self.python, "-E", "-u", "-c", _WSTEST, str(self.packages), str(spec)]


def install(python: str, name: str) -> Testsuite:
    """Install the testsuite, unless the same is there already."""
    packages = WORK / "autobahn" / name.replace(" ", "-").lower()
    stamp = packages / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        print(f"installing the testsuite for {name}", flush=True)
        shutil.rmtree(packages, ignore_errors=True)
        log = LOGS / "install.log"
        command = [python, "-E", "-m", "pip", "install", "--disable-pip-version-check"]
        with log.open("wb") as output:
            finished = subprocess.run(
                [*command, "--target", str(packages), "--requirement", str(REQUIREMENTS)],
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if finished.returncode:
            raise SetupError(
                f"pip of {python} failed; wsaccel, a part of the testsuite, needs a C compiler. "
                f"{log.relative_to(ROOT)} ends with:\n{_tail(log)}"
            )
        shutil.copyfile(REQUIREMENTS, stamp)
    asked = subprocess.run([python, "-E", "-c", _CATALOGUE, str(packages)], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise SetupError(f"the installed testsuite does not run:\n{asked.stderr}")
    catalogue = json.loads(asked.stdout.splitlines()[-1])
    return Testsuite(python, packages, catalogue["version"], catalogue["sections"], catalogue["cases"])


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


# Servers -------------------------------------------------------------------------------------------------


class Server:
    """Gunicorn with one worker, in a process group of its own, on a free port of 127.0.0.1."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.log = LOGS / f"{agent}.log"
        variables = {name: value for name, value in os.environ.items() if name not in ("GUNICORN_CMD_ARGS", "PORT")}
        paths = [str(ROOT), *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
        config = str(HERE / "gunicorn.conf.py")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", config, "--worker-class", WORKERS[agent]],
                cwd=ROOT,
                env={**variables, "PYTHONPATH": os.pathsep.join(paths), "WEB_CONCURRENCY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def url(self) -> str:
        """Where it listens, once it does."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if told := re.search(r"Listening at: http://(\S+)", self.log.read_text(errors="replace")):
                return f"ws://{told[1]}"
            time.sleep(0.05)
        raise SetupError(f"{self.agent} did not start; {self.log.relative_to(ROOT)} ends with:\n{_tail(self.log)}")

    def errors(self) -> list[str]:
        """What it has logged as errors: a case may look good from outside and yet fail within."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "[ERROR]" in line or "[CRITICAL]" in line]

    def stop(self) -> None:
        """End it, gracefully where it follows."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        # A worker that outlived its parent is still in the group that was made for this server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


# Cases ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How one case ended for one worker."""

    behavior: str
    close: str
    reason: str = ""
    report: str = ""

    @property
    def word(self) -> str:
        """The case's end in a word: the worse of how it went and how it closed."""
        for behavior in (self.behavior, self.close):
            if behavior not in GOOD:
                return behavior
        return "INFORMATIONAL" if "INFORMATIONAL" in (self.behavior, self.close) else "OK"


@dataclass(frozen=True)
class Part:
    """Cases that one process of the fuzzing client runs against one server."""

    agent: str
    url: str
    name: str
    cases: list[str]

    def run(self, suite: Testsuite, live: set[subprocess.Popen[bytes]]) -> dict[str, Result]:
        """Run the client; give the results that it has written."""
        folder = REPORTS / self.agent / self.name
        folder.mkdir(parents=True)
        spec = folder / "spec.json"
        server = {"agent": self.agent, "url": self.url}
        content = {"outdir": str(folder), "servers": [server], "cases": self.cases, "exclude-cases": []}
        spec.write_text(json.dumps({**content, "exclude-agent-cases": {}}, indent=1))
        with (LOGS / f"{self.agent}-{self.name}.log").open("wb") as log:
            process = subprocess.Popen(
                suite.client(spec), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            live.add(process)
            try:
                process.wait(PART_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            finally:
                live.discard(process)
        return self._read(folder)

    def _read(self, folder: Path) -> dict[str, Result]:
        try:
            index: dict[str, dict[str, str]] = json.loads((folder / "index.json").read_bytes())[self.agent]
        except (OSError, KeyError):
            return {}
        results = {}
        for case, entry in index.items():
            report = folder / entry["reportfile"]
            # Of the wire log, which the file has too, text that is not UTF-8 is a part.
            told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8", errors="replace"))
            reasons = []
            if entry["behavior"] not in GOOD:
                reasons += [told["result"], f"Expected: {told['expectation']}"]
            if entry["behaviorClose"] not in GOOD:
                reasons += [told["resultClose"], f"The server's code is {told['remoteCloseCode']}."]
            reason = re.sub(r"<[^>]*>", "", " ".join(" ".join(reasons).split()))
            html = report.with_suffix(".html").relative_to(ROOT)
            results[case] = Result(entry["behavior"], entry["behaviorClose"], reason, str(html))
        return results


def split(agent: str, url: str, cases: Iterable[str]) -> list[Part]:
    """The cases in parts: a section, or a part of a long section, the long ones first."""
    parts: dict[str, list[str]] = {}
    for case in cases:
        section, part = case.split(".")[:2]
        parts.setdefault(f"{section}.{part}" if section in LONG_SECTIONS else section, []).append(case)
    ordered = sorted(parts, key=lambda name: tuple(map(int, name.split("."))), reverse=True)
    return [Part(agent, url, name, parts[name]) for name in ordered]


def run_cases(
    suite: Testsuite, cases: Sequence[str], servers: Iterable[Server], jobs: int
) -> dict[str, dict[str, Result]]:
    """Run all cases against all servers; give the results of each, a missing one as NOT RUN."""
    split_up = [split(server.agent, server.url(), cases) for server in servers]
    # Alternating, so that both servers have something to do.
    parts = [part for together in zip(*split_up, strict=True) for part in together]
    missing = Result("NOT RUN", "NOT RUN", "The client ended before it: see its log in .conformance/logs.")
    results: dict[str, dict[str, Result]] = {agent: dict.fromkeys(cases, missing) for agent in WORKERS}
    live: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            running = {pool.submit(part.run, suite, live): part for part in parts}
            for future in as_completed(running):
                part = running[future]
                results[part.agent] |= future.result()
                print(f"{part.agent} {part.name}: {_counts(results[part.agent], part.cases)}", flush=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(live):
                process.kill()
    return results


def _counts(results: dict[str, Result], cases: Iterable[str]) -> str:
    counted = Counter(results[case].word for case in cases)
    return ", ".join(f"{number} {word}" for word, number in sorted(counted.items(), key=lambda item: -item[1]))


# Results -------------------------------------------------------------------------------------------------


def table(suite: Testsuite, cases: Sequence[str], results: dict[str, dict[str, Result]]) -> str:
    """How many cases each section has, and how they ended, as a Markdown table."""
    sections: dict[str, list[str]] = {}
    for case in cases:
        sections.setdefault(case.partition(".")[0], []).append(case)
    rows = [["Section", "", "Cases", *results], ["---:", "---", "---:", *("---" for _ in results)]]
    for section, members in sections.items():
        counts = (_counts(of_agent, members) for of_agent in results.values())
        rows.append([section, suite.sections[section], str(len(members)), *counts])
    rows.append(["", "All", str(len(cases)), *(_counts(of_agent, cases) for of_agent in results.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def failures(results: dict[str, dict[str, Result]]) -> list[str]:
    """A line for every case that is neither OK nor INFORMATIONAL."""
    return [
        f"{agent} {case}: {result.behavior}, close {result.close}. {result.reason} {result.report}".rstrip()
        for agent, of_agent in results.items()
        for case, result in of_agent.items()
        if result.word not in GOOD
    ]


def write_record(suite: Testsuite, lines: str, failed: int) -> None:
    """Put the result between the markers of the record."""
    packages = ("gunicorn", "websockets", "httptools", "h11")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    python = "{}.{}".format(*sys.version_info)
    verdict = f"{failed} results are neither OK nor INFORMATIONAL." if failed else "Every case is OK or INFORMATIONAL."
    record = f"Autobahn testsuite {suite.version}, all cases, with Python {python}, {versions}.\n\n{lines}\n\n{verdict}"
    text = RECORD.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SetupError(f"{RECORD.relative_to(ROOT)} has lost its markers, {BEGIN} and {END}")
    RECORD.write_text(f"{before}{BEGIN}\n{record}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the Autobahn testsuite against both workers.")
    parser.add_argument("--cases", default="*", help="only these, for instance '7.*,12.1.*'; nothing is recorded then")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="clients at the same time")
    parser.add_argument("--python2", help="the Python 2.7 to run the testsuite with")
    options = parser.parse_args()
    # The default action of SIGTERM would leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(LOGS, ignore_errors=True)
    shutil.rmtree(REPORTS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    try:
        return run(options)
    except SetupError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    suite = install(*find_python2(options.python2))
    patterns = options.cases.split(",")
    cases = [case for case in suite.cases if any(fnmatchcase(case, pattern) for pattern in patterns)]
    if not cases:
        raise SetupError(f"the testsuite has no case {options.cases}")
    print(f"Autobahn testsuite {suite.version}: {len(cases)} of {len(suite.cases)} cases, two workers", flush=True)
    with contextlib.ExitStack() as stack:
        servers = []
        for agent in WORKERS:
            servers.append(Server(agent))
            stack.callback(servers[-1].stop)
        results = run_cases(suite, cases, servers, max(1, options.jobs))
    lines = table(suite, cases, results)
    failed = failures(results)
    logged = [f"{server.agent} logged: {line}" for server in servers for line in server.errors()]
    print(f"\n{lines}\n")
    for line in failed + logged:
        print(line)
    if len(cases) == len(suite.cases):
        write_record(suite, lines, len(failed))
        print(f"recorded in {RECORD.relative_to(ROOT)}")
    return 1 if failed or logged else 0


if __name__ == "__main__":
    sys.exit(main())
