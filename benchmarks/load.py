"""Load generators. A scenario names one; another tool is another class with the same two methods."""

from __future__ import annotations

import contextlib
import json
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .websocket_wire import BINARY, Message, check_echo
from .wire import VARIED, Request, WrongAnswer, check_answers

_REPOSITORY = Path(__file__).resolve().parent.parent


class LoadError(Exception):
    """The load generator is missing or did not run properly."""


@dataclass(frozen=True)
class LoadResult:
    """What one run of a load generator saw."""

    requests: int
    """Requests answered; on WebSockets, messages echoed."""
    seconds: float
    errors: dict[str, int]
    latency_p50_ms: float
    latency_p99_ms: float
    busy: float
    """Share of its core that the generator itself used: near 1.0 it, not the server, bounds the requests per second."""
    unanswered: int = 0
    """Requests that were under way when the server closed their connection, of a generator that makes no new one."""

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
# order), pipelined ones too, and still calls no Lua per request.
_WRK_SAME = """\
local request = "%(request)s"
wrk.format = function() return request end
"""

# A `request` function is called for each request: here, it joins the unvaried pieces with the next number.
_WRK_VARIED = """\
local pieces = {%(pieces)s}
local number = %(start)d
request = function()
  number = number + 1
  return table.concat(pieces, string.format("%%08x", number))
end
"""

_WRK_DONE = """\
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "us": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d,'
    .. ' "p50_us": %d, "p99_us": %d}\\n', summary.requests, summary.duration, e.connect, e.read, e.write, e.status,
    e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""

_ERRORS = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True)
class Wrk:
    """HTTP/1.1 by wrk with one thread, over connections that are kept unless the request says `Connection: close`.

    Where the request holds `VARIED`, each request has another number there.
    """

    request: Request
    expected: bytes
    pipeline: int = 1
    tls: bool = False

    def check(self, port: int) -> None:
        closes = ("connection", "close") in self.request.headers
        check_answers(port, self.request, self.expected, self.pipeline, batches=1 if closes else 2, tls=self.tls)

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(self._script(port))
            file.flush()
            options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "5s", "-s", file.name]
            url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}/"
            return _run_wrk(["taskset", "-c", str(core), "wrk", *options, url], seconds)

    def _script(self, port: int) -> str:
        raw = self.request.encode(port)
        pieces = raw.split(VARIED.encode())
        if len(pieces) == 1:
            return _WRK_SAME % {"request": _lua(raw * self.pipeline)} + _WRK_DONE
        if self.pipeline != 1:
            raise LoadError("pipelined requests can't be varied")
        # Another start for each round, so that no number comes again.
        start = random.getrandbits(31)
        return _WRK_VARIED % {"pieces": ", ".join(f'"{_lua(piece)}"' for piece in pieces), "start": start} + _WRK_DONE


def _lua(raw: bytes) -> str:
    """*raw* as the inside of a Lua string."""
    return "".join(f"\\{byte:03d}" for byte in raw)


def _run_tool(command: list[str], seconds: int) -> tuple[subprocess.CompletedProcess[str], float]:
    """What a load generator said, and which share of its core it used."""
    used, started = _children_cpu(), time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadError("the load generator did not end in time") from error
    return done, (_children_cpu() - used) / (time.monotonic() - started)


def _run_wrk(command: list[str], seconds: int) -> LoadResult:
    done, busy = _run_tool(command, seconds)
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


@dataclass(frozen=True)
class H2load:
    """HTTP/2 with prior knowledge in cleartext, by h2load with one thread.

    `streams` requests are under way on each connection. Of `targets` requests, each has another query.
    Windows are h2load's own: 1 GiB, so that they bound nothing.
    """

    path: str
    expected: bytes
    body: bytes = b""
    streams: int = 16
    targets: int = 1

    def check(self, port: int) -> None:
        with self._arguments() as data:
            command = ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "10"]
            command += ["--data-binary", f"@{data[0]}"] if data else []
            done = subprocess.run([*command, self._url(port)], capture_output=True, check=False)
        if done.returncode:
            raise WrongAnswer(f"no proper answer: {done.stderr.decode(errors='replace').strip()}")
        if done.stdout != self.expected:
            raise WrongAnswer(f"unexpected body of {len(done.stdout)} bytes instead of {len(self.expected)}")

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        with self._arguments() as data, self._targets(port) as targets, tempfile.NamedTemporaryFile("r") as log:
            options = ["-t", "1", "-c", str(connections), "-m", str(self.streams), "-D", str(seconds)]
            options += ["--log-file", log.name, *(["--data", data[0]] if data else [])]
            done, busy = _run_tool(["taskset", "-c", str(core), "h2load", *options, *targets], seconds)
            times = sorted(int(line.split("\t")[2]) for line in log)
        return self._result(done.stdout, times, seconds, busy)

    @staticmethod
    def _result(said: str, times: list[int], seconds: int, busy: float) -> LoadResult:
        counts = {name: int(count) for count, name in re.findall(r"(\d+) (succeeded|failed|errored|timeout)", said)}
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
        if len(counts) != 4 or statuses is None or not times:
            raise LoadError(f"h2load failed: {said.strip()[-300:]}")
        wrong = sum(map(int, statuses.groups()[1:]))
        # It counts these among those that failed.
        unanswered = counts["errored"]
        return LoadResult(
            requests=counts["succeeded"],
            seconds=seconds,
            errors={"stream": counts["failed"] - unanswered, "timeout": counts["timeout"], "status": wrong},
            latency_p50_ms=times[len(times) // 2] / 1e3,
            latency_p99_ms=times[len(times) * 99 // 100] / 1e3,
            busy=busy,
            unanswered=unanswered,
        )

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}{self.path}"

    @contextlib.contextmanager
    def _targets(self, port: int) -> Iterator[list[str]]:
        """What to ask for: a URL, or the name of a file with many."""
        if self.targets == 1:
            yield [self._url(port)]
            return
        with tempfile.NamedTemporaryFile("w") as file:
            file.writelines(f"{self._url(port)}?item={number}\n" for number in range(self.targets))
            file.flush()
            yield ["-i", file.name]

    @contextlib.contextmanager
    def _arguments(self) -> Iterator[list[str]]:
        """The name of a file with the body, if there is one."""
        if not self.body:
            yield []
            return
        with tempfile.NamedTemporaryFile("wb") as file:
            file.write(self.body)
            file.flush()
            yield [file.name]


@dataclass(frozen=True)
class WebSocketEcho:
    """The same message again and again over WebSockets, by `websocket_load.py`."""

    message: Message
    in_flight: int = 1
    """Messages under way on each connection."""

    def check(self, port: int) -> None:
        check_echo(port, self.message, self.in_flight)

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        options = {
            "port": port,
            "connections": connections,
            "seconds": seconds,
            "core": core,
            "size": self.message.size,
            "in-flight": self.in_flight,
        }
        flags = ["--binary"] if self.message.opcode == BINARY else []
        if self.message.deflate:
            flags.append("--deflate")
        # The handshakes with a slow server come on top of the seconds.
        return _run_own("websocket_load", options, flags)


@dataclass(frozen=True)
class TlsVisits:
    """A TLS connection for each request, by `tls_load.py`; `version` is that of TLS."""

    version: str
    resumed: bool

    def check(self, port: int) -> None:
        check_answers(port, Request("/"), b"Hello, World!", tls=True)

    def run(self, port: int, *, connections: int, seconds: int, core: int) -> LoadResult:
        options = {"port": port, "connections": connections, "seconds": seconds, "core": core, "tls": self.version}
        return _run_own("tls_load", options, ["--resumed"] if self.resumed else [])


def _run_own(module: str, options: Mapping[str, object], flags: list[str]) -> LoadResult:
    """Run a load generator of this package."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *flags]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    timeout = int(str(options["seconds"])) + 60
    try:
        done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadError("the load generator did not end in time") from error
    if done.returncode:
        raise LoadError(f"the load generator failed: {done.stderr.strip().splitlines()[-1:]}")
    return LoadResult(**json.loads(done.stdout))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def require_tools() -> None:
    """Raise LoadError, saying what to install, unless the programs used here are there."""
    packages = {"wrk": "wrk", "taskset": "util-linux", "h2load": "nghttp2-client", "curl": "curl", "openssl": "openssl"}
    missing = [f"{tool} (Debian and Ubuntu: apt-get install {packages[tool]})" for tool in packages
               if shutil.which(tool) is None]  # fmt: skip
    if missing:
        raise LoadError(f"not found: {', '.join(missing)}")


def wrk_version() -> str:
    """First line of `wrk -v`, without its copyright."""
    # `wrk -v` prints its usage too and exits with 1.
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split(" Copyright")[0].strip()
