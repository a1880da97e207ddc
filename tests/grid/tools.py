"""Tools of operation beside the workers, each as its documentation has it: `python -m tests.grid --tools`."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import HTTPTOOLS, PATIENCE, Gunicorn, control_socket_option, until
from tests.grid.environments import Environment

__all__ = ["TOOLS", "Tool"]

_APPS = Path(__file__).with_name("apps")


@dataclass(frozen=True)
class Tool:
    """`packages` begins with the one that it is known by; `needs` is what has to be done; `check` raises or says."""

    name: str
    packages: tuple[str, ...]
    needs: str
    check: Callable[[Environment], str]


def served(environment: Environment, app: str, env: dict[str, str] | None = None) -> Gunicorn:
    options = ("--pythonpath", str(_APPS), "--graceful-timeout", "5")
    return Gunicorn(app, *options, worker=HTTPTOOLS, env=env, python=str(environment.python))


def ask(server: Gunicorn, *paths: str) -> None:
    server.wait_log("Ready in", 240)
    with server.client() as client:
        for path in paths:
            assert client.get(path).status_code == (500 if path == "/error" else 200)


def stops(server: Gunicorn) -> None:
    assert server.stop_gracefully() == 0


def _opentelemetry(environment: Environment) -> str:
    with served(environment, "tool_opentelemetry:app") as server:
        ask(server, "/hello/grid")
        until(lambda: '"name": "GET /hello/{name}"' in server.out, "the span")
        stops(server)
    return "a span for each request"


def _logfire(environment: Environment) -> str:
    with served(environment, "tool_logfire:app") as server:
        ask(server, "/hello/grid")
        until(lambda: '"name": "GET /hello/{name}"' in server.out, "the span")
        stops(server)
    return "a span for each request"


def _sentry(environment: Environment) -> str:
    with served(environment, "tool_sentry:app") as server:
        ask(server, "/hello/grid", "/error")
        assert server.wait_events("error")[0].detail == "grid error"
        assert "hello" in server.wait_events("transaction")[0].detail
        stops(server)
    return "errors, and a transaction for each request"


def _newrelic(environment: Environment) -> str:
    env = {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_APP_NAME": "grid"}
    for name in ("plain", "litestar", "quart", "blacksheep", "falcon", "fastapi"):
        with served(environment, f"tool_newrelic:{name}", env) as server:
            ask(server, "/hello/grid")
            path = server.wait_events("transaction")[0].detail
            assert path != "none", f"no transaction with {name}"
            stops(server)
    return "a transaction for each request: plain ASGI, Litestar, Quart, BlackSheep, Falcon, FastAPI"


def _ddtrace(environment: Environment) -> str:
    env = {"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "DD_REMOTE_CONFIGURATION_ENABLED": "false"}
    with served(environment, "tool_ddtrace:app", env) as server:
        ask(server, "/hello/grid")
        assert server.wait_events("span")[0].detail == "fastapi.request"
        stops(server)
    return "a span for each request"


def _elastic(environment: Environment) -> str:
    with served(environment, "tool_elasticapm:app") as server:
        ask(server, "/hello/grid")
        assert server.wait_events("transaction")[0].detail == "GET /hello/{name}"
        stops(server)
    return "a transaction for each request"


def _prometheus(environment: Environment) -> str:
    with served(environment, "tool_prometheus:app") as server:
        ask(server, "/hello/grid")
        counted = 'http_requests_total{handler="/hello/{name}",method="GET",status="2xx"} 1.0'
        assert counted in server.get("/metrics").text
        stops(server)
    return "figures of the worker that is asked; with several workers, those of prometheus_client's multiprocess mode"


def _loguru(environment: Environment) -> str:
    with served(environment, "tool_loguru:app") as server:
        server.wait_log("Booting", 60)
        until(lambda: "Ready in" in server.out, "the line of the server in loguru's log")
        with server.client() as client:
            assert client.get("/log").status_code == 200
        stops(server)
        assert "loguru from a handler" in server.out
    return "lines of the application and of the server, with `enqueue=True` to the last"


def _structlog(environment: Environment) -> str:
    with served(environment, "tool_structlog:app") as server:
        ask(server, "/log/one", "/log/two")
        until(lambda: server.out.count("\n") == 2, "two lines")
        lines = [json.loads(line) for line in server.out.splitlines()]
        assert lines == [{"name": name, "before": {}, "event": "handled"} for name in ("one", "two")]
        stops(server)
    return "what a request binds is not seen by others, on one connection either"


def _py_spy(environment: Environment) -> str:
    with served(environment, "plain_grid:app") as server:
        ask(server, "/")
        (worker,) = server.workers()
        program = environment.python.with_name("py-spy")
        done = subprocess.run([str(program), "dump", "--pid", str(worker)], capture_output=True, text=True, check=False)
        assert "worker.py" in done.stdout, done.stderr
        stops(server)
    return "the stacks of a worker"


def _debugpy(environment: Environment) -> str:
    with served(environment, "tool_debugpy:app") as server:
        server.wait_log("Ready in", 240)
        port = int(server.wait_events("debugpy")[0].detail)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            asked = {"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "grid"}}
            body = json.dumps(asked)
            client.sendall(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            seen = b""
            while b'"initialize"' not in seen:
                data = client.recv(65536)
                assert data, seen
                seen += data
            ask(server, "/hello/grid")
        stops(server)
    return "a debugger can attach to the worker while it serves"


def under(environment: Environment, module: str, *arguments: str) -> Gunicorn:
    """Gunicorn started by another module."""
    own = ["-k", HTTPTOOLS, "-b", "127.0.0.1:0", *control_socket_option(), "--pythonpath", str(_APPS), "plain_grid:app"]
    return Gunicorn(module=module, argv=[*arguments, "-m", "gunicorn", *own], python=str(environment.python))


def _memray(environment: Environment) -> str:
    with under(environment, "memray", "run", "--quiet", "--follow-fork", "--output", "seen.bin") as server:
        ask(server, "/hello/grid")
        (worker,) = server.workers()
        stops(server)
        file = server.dir / f"seen.bin.{worker}"
        command = [str(environment.python), "-m", "memray", "summary", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return "the allocations of each worker"


def _coverage(environment: Environment) -> str:
    with under(environment, "coverage", "run", "--parallel-mode", f"--include={_APPS}/*") as server:
        ask(server, "/hello/grid")
        stops(server)
        program = [str(environment.python), "-m", "coverage"]
        subprocess.run([*program, "combine", "--quiet"], cwd=server.dir, check=True)
        subprocess.run([*program, "json", "--quiet", "-o", "seen.json"], cwd=server.dir, check=True)
        files = json.loads(server.read("seen.json"))["files"]
        (seen,) = [file for name, file in files.items() if "plain_grid" in name]
        assert seen["summary"]["percent_covered"] > 40, seen["summary"]
    return "the lines that ran in the workers"


TOOLS = (
    Tool(
        "OpenTelemetry",
        ("opentelemetry-sdk", "opentelemetry-instrumentation-fastapi", "fastapi"),
        "the instrumentation of the framework, or `OpenTelemetryMiddleware`",
        _opentelemetry,
    ),
    Tool("Logfire", ("logfire[fastapi]", "fastapi"), "`logfire.instrument_fastapi(app)`", _logfire),
    Tool("Sentry", ("sentry-sdk", "fastapi"), "`sentry_sdk.init()` before the application is made", _sentry),
    Tool(
        "New Relic",
        ("newrelic", "fastapi", "litestar", "quart", "blacksheep", "falcon"),
        "`newrelic-admin run-program`, or `newrelic.agent.initialize()` before the frameworks are imported",
        _newrelic,
    ),
    Tool("Datadog", ("ddtrace", "fastapi"), "`ddtrace-run`, or `import ddtrace.auto` first", _ddtrace),
    Tool("Elastic APM", ("elastic-apm", "starlette"), "its middleware", _elastic),
    Tool(
        "prometheus-fastapi-instrumentator",
        ("prometheus-fastapi-instrumentator", "fastapi"),
        "`Instrumentator().instrument(app).expose(app)`",
        _prometheus,
    ),
    Tool("loguru", ("loguru", "fastapi"), "a handler that hands records of `logging` to it", _loguru),
    Tool("structlog", ("structlog", "fastapi"), "nothing", _structlog),
    Tool("py-spy", ("py-spy",), "the id of a worker; the right to trace processes (root, or SYS_PTRACE)", _py_spy),
    Tool(
        "debugpy",
        ("debugpy",),
        "`debugpy.listen()` in the worker; Gunicorn's `timeout = 0`",
        _debugpy,
    ),
    Tool("memray", ("memray",), "`memray run --follow-fork -m gunicorn ...`", _memray),
    Tool("coverage", ("coverage",), "`coverage run --parallel-mode -m gunicorn ...`", _coverage),
)
