"""The options of the command line, in groups; those of the server core are made of their definitions in `Config`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

from uvicorn_worker.core import config as core
from uvicorn_worker.core.rules import FLAG, Rule

__all__ = ["ACTIONS", "ALSO", "DEFAULTS", "GROUPS", "MANY", "NOT_ON_THE_LINE", "Own", "make_command", "options_of"]


@dataclass(frozen=True)
class Own:
    """An option that is none of the core's. `kind` is flag, text, many (may be given several times) or int."""

    words: str
    meaning: str
    kind: str = "text"
    metavar: str | None = None
    name: str | None = None
    default: str | None = None
    """For others, whose commands have our parameters, and show or use their values; what is no other says nothing."""

    @property
    def key(self) -> str:
        """Its name in Python."""
        return self.name or self.word

    @property
    def word(self) -> str:
        """The same as it is written, with underscores."""
        return self.words.split()[-1].lstrip("-").replace("-", "_")


# What is no option of the core: where it listens, how many processes there are, and what is printed instead of serving.
GROUPS: dict[str, tuple[Own, ...]] = {
    "Where it listens": (
        Own(
            "--host",
            "Bind to this host, which may have several addresses; 127.0.0.1 unless it is given.",
            default="127.0.0.1",
        ),
        Own(
            "--port",
            "Bind to this port, 8000 unless it is given; 0: a free one; auto: 8000, or the next free one.",
            default="8000",
        ),
        Own("--uds", "Bind to a unix socket at this path.", metavar="PATH"),
        Own("--uds-permissions", "The permissions of that socket, 666 unless they are given.", metavar="MODE"),
        Own("--fd", "Listen on this file descriptor.", "int"),
        Own("--dev-cert", "Speak TLS and HTTP/2 with a certificate for localhost, which is made and kept.", "flag"),
    ),
    "Processes": (
        Own("--workers", "How many processes serve; several have Gunicorn's master. [processes]", "int"),
        Own(
            "--worker-class",
            "Their class: uvicorn, h11, h2c, or where to import it from.",
            metavar="CLASS",
        ),
        Own("--preload", "Load the application before the workers are forked.", "flag"),
        Own("--pid", "Write the process id to this file.", metavar="PATH", name="pid_file"),
        Own("-c --config", "A configuration file of Gunicorn's; Gunicorn's master is started.", metavar="PATH"),
        Own("--gunicorn", "A setting of Gunicorn's; its master is started.", "many", "NAME=VALUE"),
        Own(
            "--app-dir",
            "Where APP is looked for; the working directory unless it is given.",
            metavar="PATH",
        ),
        Own("--timeout-worker-healthcheck", "Gunicorn's timeout: how long a worker may be silent. [seconds]"),
    ),
    "Reload": (
        Own("--reload", "Serve the new code when a file has changed.", "flag"),
        Own("--reload-dir", "Watch this folder, not the working directory.", "many", "PATH", "reload_dirs"),
        Own("--reload-include", "Watch files like this one, too, or a folder.", "many", "PATTERN", "reload_includes"),
        Own("--reload-exclude", "Don't watch files like this one, or a folder.", "many", "PATTERN", "reload_excludes"),
        Own("--reload-delay", "How long it must be quiet after a change; or from one look to the next. [seconds]"),
    ),
    "Instead of serving": (
        Own("--check-config", "Check the options, load the application, and end.", "flag"),
        Own("--print-config", "Print each option with its value and where that comes from.", "flag"),
        Own("--print-systemd", "Print a unit of systemd for this command line.", "flag"),
        Own("--print-nginx", "Print a server of nginx in front of this one.", "flag"),
        Own("--show-completion", "Print the completion script of a shell: bash, zsh or fish.", metavar="SHELL"),
    ),
}
ACTIONS = tuple(own.key for own in GROUPS["Instead of serving"])
DEFAULTS = {own.key: own.default for group in GROUPS.values() for own in group if own.default is not None}

NOT_ON_THE_LINE = frozenset({"app", "callback_notify", "ssl_context_factory"})
# uvicorn's command has a value for this flag.
_WITH_VALUE = frozenset({"ws_per_message_deflate"})
# Spellings of others for what is ours.
ALSO = {
    "worker_lifetime": ["--workers-lifetime"],
    "worker_lifetime_jitter": ["--workers-lifetime-jitter"],
    "limit_max_memory": ["--workers-max-rss"],
}
# Of others, what a shell may be told; the loop may be any that can be imported.
_KNOWN: dict[str, Sequence[str]] = {
    "loop": ("auto", "uvloop", "asyncio"),
    "worker_class": ("uvicorn", "h11", "h2c"),
    "port": ("auto",),
    "show_completion": ("bash", "zsh", "fish"),
}
_FILES = frozenset({"ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "log_config"})
_FOLDERS = frozenset({"app_dir", "reload_dirs"})
MANY = {"headers": ("--header", "NAME:VALUE"), "env_file": ("--env-file", "PATH")}


def options_of(click: Any) -> Iterator[tuple[str, Any]]:
    """The group of each option, and the option."""
    for title, group in GROUPS.items():
        if title != "Instead of serving":
            for own in group:
                yield title, _own(click, own)
    for item in fields(core.Config):
        if item.name not in NOT_ON_THE_LINE:
            yield item.metadata["section"], _option(click, item)
            if item.name == "log_level":
                words = "The lines of the log: text, or a JSON object for each."
                yield "Logs", click.Option(["--log-format"], type=click.Choice(["text", "json"]), help=words)
    for own in GROUPS["Instead of serving"]:
        yield "Instead of serving", _own(click, own)


def _own(click: Any, own: Own) -> Any:
    words = [*own.words.split(), own.key]
    if own.kind == "flag":
        return click.Option(words, is_flag=True, default=None, help=own.meaning)
    known: dict[str, Any] = {"default": own.default, "help": own.meaning, "metavar": own.metavar}
    kind = "dir" if own.key in _FOLDERS else "file" if own.metavar == "PATH" else ""
    known["shell_complete"] = _paths(kind) if kind else _words(_KNOWN.get(own.key, ()))
    if own.kind == "many":
        return click.Option(words, multiple=True, **known)
    return click.Option(words, type=int if own.kind == "int" else str, **known)


def _words(words: Sequence[str]) -> Callable[[Any, Any, str], list[str]]:
    """Completion of a value that is one of these words."""
    return lambda context, parameter, begun: [word for word in words if word.startswith(begun)]


def _paths(kind: str) -> Callable[[Any, Any, str], list[Any]]:
    """Completion of a path, of which the shell itself knows: `kind` is file or dir."""

    def complete(context: Any, parameter: Any, begun: str) -> list[Any]:
        completion: Any = importlib.import_module("click.shell_completion")
        return [completion.CompletionItem(begun, type=kind)]

    return complete


def _choices(rule: Rule) -> list[str]:
    """The words that an option may be, where there are only such."""
    _, is_one, words = rule.allowed.partition("one of ")
    return words.split(", ") if is_one else []


def _option(click: Any, item: Field[Any]) -> Any:
    """One option of the core; values are read as those of the environment are."""
    word = item.name.replace("_", "-")
    unit = item.metadata["unit"]
    words = item.metadata["meaning"] + (f" [{unit}]" if unit else "")
    if item.name in MANY:
        name, metavar = MANY[item.name]
        known = {"shell_complete": _paths("file")} if metavar == "PATH" else {}
        return click.Option([name, item.name], multiple=True, default=None, help=words, metavar=metavar, **known)
    if item.name == "http2":
        return click.Option(["--http2/--no-http2"], default=None, help=words)
    is_flag = item.metadata["rule"].allowed == FLAG.allowed or item.name == "use_colors"
    if is_flag and item.name not in _WITH_VALUE:
        return click.Option([f"--{word}/--no-{word}"], default=None, help=words)
    choices = _choices(item.metadata["rule"])
    metavar = "DURATION" if unit == "seconds" else "NUMBER" if unit else "TEXT"
    complete: Callable[[Any, Any, str], list[Any]] = _words(choices or _KNOWN.get(item.name, ()))
    if item.name in _FILES:
        metavar, complete = "PATH", _paths("file")
    elif choices:
        metavar = f"[{'|'.join(choices)}]"
    names = [f"--{word}", *ALSO.get(item.name, ()), item.name]
    return click.Option(names, type=str, default=None, help=words, metavar=metavar, shell_complete=complete)


def make_command(callback: Any, version: Any, applications: Callable[[Any, Any, str], list[str]]) -> Any:
    """The command, a `click.Command`, whose help is in groups; raises ModuleNotFoundError where there is no click.

    `applications` completes APP.
    """
    click: Any = importlib.import_module("click")
    grouped = list(options_of(click))
    titles = {id(option): title for title, option in grouped}

    class Command(click.Command):  # type: ignore[misc]
        def format_options(self, ctx: Any, formatter: Any) -> None:
            groups: dict[str, list[tuple[str, str]]] = {}
            for option in self.get_params(ctx):
                record = option.get_help_record(ctx)
                if record is not None and option.param_type_name == "option":
                    groups.setdefault(titles.get(id(option), "Instead of serving"), []).append(record)
            for title, records in groups.items():
                with formatter.section(title):
                    formatter.write_dl(records)

    parameters = [
        click.Argument(["app"], required=False, shell_complete=applications),
        *(option for _, option in grouped),
    ]
    parameters.append(
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=version,
            help="Print the version and end.",
        )
    )
    return Command(
        "uvicorn-worker",
        params=parameters,
        callback=callback,
        help="Serve APP, an application as 'module:attribute'. Where it is left out, main.py, app.py and the like are "
        "looked at. What is not given here comes from UVICORN_* and from [tool.uvicorn] in pyproject.toml. Seconds may "
        "be a duration, as in 1h30m.",
    )
