"""Load generators. A scenario names one; another tool is another class with the same two methods."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Protocol

from .wire import Request, check_answers


class LoadError(Exception):
    """The load generator is missing or did not run properly."""


@dataclass(frozen=True)
class LoadResult:
    """What one run of a load generator saw."""

    requests: int
    seconds: float
    errors: dict[str, int]
    latency_p50_ms: float
    latency_p99_ms: float
    busy: float
    """Share of its core that the generator itself used: near 1.0 it, not the server, bounds the requests per second."""

    @property
    def failed(self) -> str:
        """What went wrong, or an empty string."""
        return ", ".join(f"{count} {name} errors" for name, count in self.errors.items() if count)


class Load(Protocol):
    def check(self, port: int) -> None:
        """Raise WrongAnswer unless the server at *port* answers as expected."""

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        """Load the server at *port* from one thread pinned to *core*."""


# wrk makes its request once from wrk.format(); replacing that hands over our exact bytes (wrk's own header table has no
# order), pipelined ones too, and still calls no Lua per request. A `request` function would.
_WRK_SCRIPT = """\
local request = "%(request)s"
wrk.format = function() return request end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "us": %%d, "connect": %%d, "read": %%d, "write": %%d, "status": %%d, "timeout": %%d,'
    .. ' "p50_us": %%d, "p99_us": %%d}\\n', summary.requests, summary.duration, e.connect, e.read, e.write, e.status,
    e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""

_ERRORS = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True)
class Wrk:
    """HTTP/1.1 over keep-alive connections, by wrk with one thread."""

    request: Request
    expected: bytes
    pipeline: int = 1

    def check(self, port: int) -> None:
        check_answers(port, self.request, self.expected, self.pipeline)

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        raw = self.request.encode(port) * self.pipeline
        script = _WRK_SCRIPT % {"request": "".join(f"\\{byte:03d}" for byte in raw)}
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "5s", "-s", file.name]
            return _run_wrk(["taskset", "-c", str(core), "wrk", *options, f"http://127.0.0.1:{port}/"], seconds)


def _run_wrk(command: list[str], seconds: int) -> LoadResult:
    used, started = _children_cpu(), time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadError("wrk did not end in time") from error
    busy = (_children_cpu() - used) / (time.monotonic() - started)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise LoadError(f"wrk failed with exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    result = json.loads(lines[-1].removeprefix("RESULT "))
    return LoadResult(
        requests=result["requests"],
        seconds=result["us"] / 1e6,
        errors={name: result[name] for name in _ERRORS},
        latency_p50_ms=result["p50_us"] / 1e3,
        latency_p99_ms=result["p99_us"] / 1e3,
        busy=busy,
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def require_tools() -> None:
    """Raise LoadError, saying what to install, unless the programs used here are there."""
    packages = {"wrk": "wrk", "taskset": "util-linux"}
    missing = [f"{tool} (Debian and Ubuntu: apt-get install {packages[tool]})" for tool in packages
               if shutil.which(tool) is None]  # fmt: skip
    if missing:
        raise LoadError(f"not found: {', '.join(missing)}")


def wrk_version() -> str:
    """First line of `wrk -v`, without its copyright."""
    # `wrk -v` prints its usage too and exits with 1.
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split(" Copyright")[0].strip()
