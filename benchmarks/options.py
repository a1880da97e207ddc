"""What the programs here share of their command lines, and the setting up that comes first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from .environments import Environment, SetupError, ensure
from .servers import SERVERS, Server


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a whole number from 1 on: {text!r}")
    return int(text)


def output_file(text: str) -> Path:
    # Told now, not after the measurement.
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {path.parent}")
    return path


def names(text: str, known: list[str]) -> list[str]:
    wanted = [name.strip() for name in text.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return wanted


def servers(text: str) -> list[Server]:
    wanted = names(text, [server.name for server in SERVERS])
    return [server for server in SERVERS if server.name in wanted]


def add_servers(parser: argparse.ArgumentParser, default: list[Server]) -> None:
    """The options --servers and --python."""
    others = ", ".join(server.name for server in SERVERS if server not in default)
    parser.add_argument("--servers", type=servers, default=default, metavar="NAME,...",
                        help=f"default: {','.join(server.name for server in default)}; also: {others}")  # fmt: skip
    parser.add_argument("--python", default=sys.executable, help="interpreter of the servers (default: this one)")


def set_up(wanted: Iterable[Server], python: str) -> tuple[dict[str, Environment], list[str]]:
    """The environments of the servers, by name, and what failed."""
    environments, failures = {}, []
    for server in wanted:
        say(f"environment of {server.name}")
        try:
            environments[server.name] = ensure(server, python)
        except SetupError as error:
            failures.append(f"set-up of {server.name}: {error}")
            say(failures[-1])
    return environments, failures


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
