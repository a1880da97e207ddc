"""The command `uvicorn-worker`: every option of uvicorn's command line, and of the server core beside them.

The options of the core are made of their definitions in `Config`, so that there is none without a word here. What is
not given on the command line comes from `UVICORN_*` and from `[tool.uvicorn]`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

from uvicorn_worker.cli.look import LOOKS, look
from uvicorn_worker.cli.run import run
from uvicorn_worker.core import config as core
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.rules import FLAG
from uvicorn_worker.core.sources import from_outside

__all__ = ["command", "main"]

USAGE = 2

# What is no option of the core: where it listens, and how many processes there are.
_PLACES: tuple[tuple[str, type, str, dict[str, Any]], ...] = (
    ("--host", str, "Bind to this host.", {}),
    ("--port", int, "Bind to this port; 0: a free one.", {}),
    ("--uds", str, "Bind to a unix socket at this path.", {}),
    ("--fd", int, "Listen on this file descriptor.", {}),
    ("--workers", int, "How many processes serve; more than one need Gunicorn's master, which is started.", {}),
    ("--reload", bool, "Start anew when a source file has changed.", {"is_flag": True}),
    (
        "--reload-dir",
        str,
        "Taken from uvicorn; what the application has imported is watched.",
        {"multiple": True},
    ),
    ("--reload-include", str, "As --reload-dir.", {"multiple": True}),
    ("--reload-exclude", str, "As --reload-dir.", {"multiple": True}),
    ("--reload-delay", float, "As --reload-dir.", {}),
    ("--app-dir", str, "Where the application is looked for; the working directory unless it is given.", {}),
    ("--timeout-worker-healthcheck", int, "Taken from uvicorn; the worker's heartbeat has Gunicorn's timeout.", {}),
)
_NOT_ON_THE_LINE = frozenset({"app", "callback_notify", "ssl_context_factory"})
# uvicorn's command has a value for this flag.
_WITH_VALUE = frozenset({"ws_per_message_deflate"})


def command() -> Any:
    """The command, a `click.Command`."""
    click: Any = importlib.import_module("click")
    parameters = [click.Argument(["app"])]
    for name, kind, words, more in _PLACES:
        parameters.append(click.Option([name], type=kind, default=None, help=words, **more))
    parameters.extend(_option(click, item) for item in fields(core.Config) if item.name not in _NOT_ON_THE_LINE)
    parameters.append(
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version(click))
    )
    return click.Command("uvicorn-worker", params=parameters, callback=_serve, help="Serve an application.")


def _option(click: Any, item: Field[Any]) -> Any:
    """One option of the core; values are read as those of the environment are."""
    word = item.name.replace("_", "-")
    unit = item.metadata["unit"]
    words = item.metadata["meaning"] + (f" [{unit}]" if unit else "")
    if item.name == "headers":
        return click.Option(["--header", "headers"], multiple=True, default=None, help=words, metavar="NAME:VALUE")
    if item.name == "http2":
        return click.Option(["--http2/--no-http2"], default=None, help=words)
    is_flag = item.metadata["rule"].allowed == FLAG.allowed or item.name == "use_colors"
    if is_flag and item.name not in _WITH_VALUE:
        return click.Option([f"--{word}/--no-{word}"], default=None, help=words)
    return click.Option([f"--{word}"], type=str, default=None, help=words)


def _version(click: Any) -> Callable[..., None]:
    def show(context: Any, parameter: Any, value: bool) -> None:
        if value and not context.resilient_parsing:
            from uvicorn_worker import __version__

            implementation = f"{sys.implementation.name} {sys.version.split()[0]}"
            click.echo(f"uvicorn-worker {__version__} with {implementation} on {sys.platform}")
            context.exit()

    return show


def _serve(app: str, **given: Any) -> None:
    try:
        outside = from_outside()
        options: dict[str, Any] = {name: found.value for name, found in outside.options.items()}
        options.update((name, found.value) for name, found in outside.masters.items() if name != "version")
        options.update((name, _listed(value)) for name, value in given.items() if value not in (None, ()))
        options.pop("worker_class", None)
        run(app, **options)
    except ConfigError as exc:
        sys.stderr.write(f"Error: {exc}\n")
        sys.exit(USAGE)


def _listed(value: Any) -> Any:
    """What may be given several times, as the options take it."""
    return list(value) if isinstance(value, tuple) else value


def main() -> None:
    """The command line: an application to be served, or one of the words for what is served already."""
    if sys.argv[1:2] and sys.argv[1] in LOOKS:
        sys.exit(look(sys.argv[1], sys.argv[2:]))
    try:
        made = command()
    except ModuleNotFoundError as exc:
        sys.exit(f"The command needs the package {exc.name}: install the extra `cli` with this package.")
    made(prog_name="uvicorn-worker")
