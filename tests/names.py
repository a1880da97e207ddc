"""The names that a class of ours has beside those of uvicorn or Gunicorn, where people have subclasses of it."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["PLAUSIBLE", "names_of", "not_own"]

# What subclasses may have for themselves: none of it is a name of uvicorn's Server, Config or worker.
PLAUSIBLE = [
    "_app", "_background", "_bind", "_bound", "_cache", "_callback", "_callback_notify", "_cancelled",
    "_changed", "_changes", "_client", "_close", "_config", "_context", "_connections", "_count", "_defaults",
    "_done", "_draining", "_error", "_errors", "_event", "_exit", "_exit_time", "_executor", "_failed",
    "_failures", "_files", "_finished", "_force_exit", "_folders", "_handlers", "_heap", "_hooks", "_host",
    "_is_accepting", "_is_ready", "_is_running", "_lifespan", "_lifetime", "_listening", "_lock", "_log",
    "_logger", "_loop", "_loops", "_main", "_main_task", "_memory", "_metrics", "_name", "_notify", "_old",
    "_on_exit", "_on_start", "_on_tick", "_options", "_pid", "_pool", "_port", "_process", "_queue", "_quick",
    "_ready", "_registry", "_reload", "_reporter", "_reset", "_restart", "_retired", "_run", "_runtime",
    "_sched", "_schedule", "_scheduler", "_serve_task", "_server", "_server_task", "_servers", "_settings",
    "_shared", "_should_exit", "_should_stop", "_shutdown", "_shutdown_event", "_signals", "_slow", "_sock",
    "_sockets", "_start", "_started", "_startup", "_startup_done", "_state", "_stop", "_stop_event", "_stopped",
    "_surroundings", "_task", "_tasks", "_thread", "_ticker", "_tls", "_token", "_undo", "_url", "_wait",
    "_wake", "_watch", "_watcher", "_worker", "abandon", "acceptor", "adopt", "app_name", "asks_to_go",
    "base_url", "begin", "cancelled", "captured", "client", "close", "context", "counter", "divide", "done",
    "drain", "drain_of", "error", "executor", "exit_by", "exit_gracefully", "fail", "finished", "has_run",
    "heartbeat", "hooks", "http_server", "join", "listen", "log", "logger", "loop_thread", "memory", "metrics",
    "monitor", "name", "neighbours", "on_exit", "on_shutdown", "on_start", "on_started", "on_startup",
    "on_stop", "options", "pause_threads", "pool", "process", "queue", "ready", "registry", "reloading",
    "replacement", "reporter", "restart", "retired", "root_url", "running", "runtime", "schedule", "scheduler",
    "seconds", "server", "server_thread", "settled", "signals", "sock", "start", "started_event", "state",
    "stop", "stop_event", "stopped", "surroundings", "task", "tasks", "thread", "ticker", "uds_mode", "url",
    "wait", "wait_for_drain", "wait_for_exit", "wait_started", "watcher",
    "worker",
]  # fmt: skip


def names_of(cls: type, *instances: object) -> set[str]:
    """All of them, also what methods assign to `self`, and what these instances have; no dunders."""
    ours = [each for each in cls.__mro__ if each.__module__.partition(".")[0] == "uvicorn_worker"]
    found = {name for each in ours for name in _written_in(each)}
    for instance in instances:
        found.update(vars(instance))
    return {name for name in found if not (name.startswith("__") and name.endswith("__"))}


def not_own(names: set[str]) -> list[str]:
    """Those that a subclass could have, too: ours begin with `own_`, with `_own_` where they are of one room."""
    return sorted(name for name in names if not name.startswith(("own_", "_own_")))


@cache
def _written_in(cls: type) -> frozenset[str]:
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    (node,) = (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and each.name == cls.__name__)
    return frozenset(_written(node))


def _written(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield each.name
        elif isinstance(each, ast.AnnAssign):
            yield from _targets(each.target)
        elif isinstance(each, ast.Assign):
            for target in each.targets:
                yield from _targets(target)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and _is_self(inner.value):
            yield inner.attr
        elif isinstance(inner, ast.Call):
            # As of `object.__setattr__`.
            owner: list[Any] = inner.args[:1]
            if len(inner.args) == 3 and _is_self(owner[0]) and isinstance(inner.args[1], ast.Constant):
                yield str(inner.args[1].value)


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple):
        for each in target.elts:
            yield from _targets(each)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "worker")
