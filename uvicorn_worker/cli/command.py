"""The command `uvicorn-worker`: every option of uvicorn's command line, and of the server core beside them.

What is not given on the command line comes from `UVICORN_*` and from `[tool.uvicorn]`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn_worker.cli.beside import listed, master_of, special
from uvicorn_worker.cli.discovery import discover
from uvicorn_worker.cli.look import LOOKS, look
from uvicorn_worker.cli.masters import Master
from uvicorn_worker.cli.options import ACTIONS, DEFAULTS, make_command
from uvicorn_worker.cli.printing import nginx_file, options_table, systemd_unit
from uvicorn_worker.cli.run import CommandConfig, check, launch
from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.core.log import write_stderr, write_stdout
from uvicorn_worker.core.sources import from_outside
from uvicorn_worker.server.config import of_environment
from uvicorn_worker.server.env_file import missing_env_files
from uvicorn_worker.server.failures import users_traceback

__all__ = ["command", "main"]

USAGE = 2

LINE = "command line"
# Of these the environment may hold several.
_LISTS = ("reload_dirs", "reload_includes", "reload_excludes")


@functools.cache
def command() -> Any:
    """The command, a `click.Command`; one for all, so that a program may give its parameters other defaults."""
    click: Any = importlib.import_module("click")
    return make_command(_serve, _version(click), _applications)


def _applications(context: Any, parameter: Any, begun: str) -> list[str]:
    """What may stand for APP: the words for what is served already, and what would be served without one."""
    words = list(LOOKS)
    with contextlib.suppress(ConfigError):
        words.append(discover(context.params.get("app_dir") or ".").app)
    return [word for word in words if word.startswith(begun)]


def _version(click: Any) -> Callable[..., None]:
    def show(context: Any, parameter: Any, value: bool) -> None:
        if value and not context.resilient_parsing:
            from uvicorn_worker import __version__

            implementation = f"{sys.implementation.name} {sys.version.split()[0]}"
            click.echo(f"uvicorn-worker {__version__} with {implementation} on {sys.platform}")
            context.exit()

    return show


def _serve(app: str | None, **given: Any) -> None:
    try:
        _act(app, listed(_without_defaults(given)))
    except ConfigError as exc:
        write_stderr(f"Error: {exc}\n")
        sys.exit(USAGE)


def _without_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """What nobody has said is not said here, so that it can come from elsewhere."""
    click: Any = importlib.import_module("click")
    context = click.get_current_context(silent=True)
    if context is None:
        return given
    unsaid = {
        name
        for name, default in DEFAULTS.items()
        if given.get(name) == default and context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT
    }
    return {name: value for name, value in given.items() if name not in unsaid}


def _act(app: str | None, line: dict[str, Any]) -> None:
    actions = {name: line.pop(name) for name in ACTIONS if name in line}
    if shell := actions.get("show_completion"):
        write_stdout(_completion(shell))
        return
    master = master_of(line)
    options, sources = _gather(line)
    special(line, options, sources)
    for missing in missing_env_files(options.get("env_file")):
        # With uvicorn's command, too, one that is named has to be there.
        raise ConfigError(missing)
    if options.get("reload"):
        for place in options.get("reload_dirs") or ():
            if not os.path.exists(place):
                raise ConfigError(f"option reload_dirs: there is no folder {os.path.abspath(place)}")
    name = app or options.pop("app", None)
    if name is None:
        name = _discovered(options, master)
    options.pop("app", None)
    if "print_config" in actions:
        sources["app"] = LINE if app else "discovered"
        config = CommandConfig(name, **options)
        for option, (variable, _) in of_environment().items():
            sources.setdefault(option, f"environment variable {variable}")
        write_stdout(options_table(config, sources))
    elif "print_systemd" in actions:
        write_stdout(systemd_unit(CommandConfig(name, **options), _arguments()))
    elif "print_nginx" in actions:
        write_stdout(nginx_file(CommandConfig(name, **options)))
    elif "check_config" in actions:
        try:
            check(name, options)
        except AppLoadError as exc:
            sys.exit(f"Error: {exc}")
        except ConfigError:
            raise
        except Exception as exc:  # noqa: BLE001 - an import raises what it likes
            sys.exit(f"Error: the application can't be loaded.\n{users_traceback(exc)}")
        write_stdout("The options can be used, and the application can be loaded.\n")
    else:
        launch(name, options, master, set(line))


def _gather(line: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The options by name, and where each comes from; the command line wins."""
    outside = from_outside()
    options: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for found in (outside.masters, outside.options):
        for name, given in found.items():
            if name not in ("version", "worker_class"):
                value = given.value
                if name in _LISTS and isinstance(value, str):
                    value = re.split(r"[,\s]+", value.strip())
                options[name], sources[name] = value, given.source
    for name, value in line.items():
        options[name], sources[name] = value, LINE
    return options, sources


def _discovered(options: dict[str, Any], master: Master) -> Any:
    if master.config_file is not None:
        # It may be named there, as wsgi_app.
        return None
    found = discover(options.get("app_dir") or ".")
    if found.factory:
        options["factory"] = True
    if found.wsgi:
        options.setdefault("interface", "wsgi")
    write_stderr(f"Serving {found.app}, found in {found.source}.\n")
    return found.app


def _arguments() -> list[str]:
    return [word for word in sys.argv[1:] if word != "--print-systemd"]


def _completion(shell: str) -> str:
    completion: Any = importlib.import_module("click.shell_completion")
    kind = completion.get_completion_class(shell)
    if kind is None:
        raise ConfigError(f"option show_completion = {shell!r}: must be one of bash, zsh, fish")
    source: str = kind(command(), {}, "uvicorn-worker", "_UVICORN_WORKER_COMPLETE").source()
    return source + "\n"


def main(args: Sequence[str] | None = None, **extra: Any) -> None:
    """The command line: an application to be served, or one of the words for what is served already.

    `args` are its words, those of the process where they are None, `extra` what `click.Command.main()` takes besides.
    Does not return, but with `standalone_mode = False`: raises SystemExit.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] and words[0] in LOOKS:
        sys.exit(look(words[0], words[1:]))
    try:
        made = command()
    except ModuleNotFoundError as exc:
        sys.exit(f"The command needs the package {exc.name}: install the extra `cli` with this package.")
    made(words, **{"prog_name": "uvicorn-worker", "complete_var": "_UVICORN_WORKER_COMPLETE", **extra})
