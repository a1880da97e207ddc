"""Rules of single options, which no other has."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from uvicorn_worker.core.grammar import TCHAR
from uvicorn_worker.core.paths import ALLOWED, is_path_table
from uvicorn_worker.core.rules import OPTIONAL_TEXT, Rule, is_int

__all__ = [
    "ACCESS_LOG_FORMAT",
    "APP",
    "CALLABLE",
    "CERT_REQS",
    "ENV_FILES",
    "FIELD_NAME",
    "LOG_CONFIG",
    "PATHS",
    "is_access_log_format",
]


# The atoms that are texts, as the fields and variables are that are named in braces.
_TEXTS = frozenset("hlutrsmUqHbfaLp")


class _Sample(dict[str, Any]):
    """In the place of the atoms of a response: each is there, as the text that it is, or as a number.

    A logger class may have atoms of its own, which may be either; a number is taken for a text, too.
    """

    def __missing__(self, name: str) -> Any:
        return "-" if name in _TEXTS or name.startswith("{") else 1

    def __repr__(self) -> str:
        raise TypeError("no atom is named")


def is_access_log_format(value: str) -> bool:
    """Whether a line can be made of it: each conversion names an atom that it takes, as %(r)s and %(D)d do."""
    try:
        value % _Sample()
    except (TypeError, ValueError, OverflowError, MemoryError):
        return False
    return True


def _is_parser(value: Any) -> bool:
    """Whether it is a RawConfigParser; whoever has one has imported it."""
    module = sys.modules.get("configparser")
    return module is not None and isinstance(value, module.RawConfigParser)


def _with_ini_read(value: Any) -> Any:
    """What is in an open ini file, which is read once; whatever else it is, as it is."""
    if not hasattr(value, "readline"):
        return value
    import configparser  # nobody else does at the start

    parser = configparser.ConfigParser()
    try:
        parser.read_file(value)
    except configparser.Error as exc:
        raise ValueError(str(exc)) from None
    return parser


ACCESS_LOG_FORMAT = Rule(
    "None or a format of Gunicorn's atoms, as in '%(h)s %(r)s %(s)s'",
    lambda value: value is None or (isinstance(value, str) and is_access_log_format(value)),
    OPTIONAL_TEXT.parse,
)
APP = Rule(
    "an ASGI application, or 'module:attribute'",
    lambda value: callable(value) or (isinstance(value, str) and bool(value)),
)
CALLABLE = Rule("None or something to call", lambda value: value is None or callable(value))
CERT_REQS = Rule("0 (none), 1 (optional) or 2 (required)", lambda value: is_int(value) and int(value) in (0, 1, 2), int)
ENV_FILES = Rule(
    "None, the path of a file, or a list of them",
    lambda value: (
        value is None
        or (isinstance(value, str) and bool(value))
        or (isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value))
    ),
    spell=lambda value: [os.fspath(each) for each in value] if isinstance(value, (list, tuple)) else value,
)
LOG_CONFIG = Rule(
    "None, a dictionary for logging.config, the path of a JSON, YAML or ini file, or an open ini file",
    lambda value: (
        value is None or (isinstance(value, str) and bool(value)) or isinstance(value, Mapping) or _is_parser(value)
    ),
    spell=_with_ini_read,
)
PATHS = Rule(f"a table from prefixes of paths to tables of {', '.join(ALLOWED)}", is_path_table, json.loads)
FIELD_NAME = Rule(
    "the name of a header field",
    lambda value: isinstance(value, str) and re.fullmatch(rf"[{TCHAR}]{{1,64}}", value) is not None,
)
