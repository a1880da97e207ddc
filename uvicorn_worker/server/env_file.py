"""Files of environment variables, which the option `env_file` names.

    Config(env_file=...)     reads at once: WEB_CONCURRENCY and FORWARDED_ALLOW_IPS may be in it
    load_app()               reads anew: under --reload the file is another one by then
    a worker of Gunicorn     reads at the start, on HUP, and when it imports the application

What a file has set in this process is remembered, so that what it says no longer is taken back when it is read anew. A
file that is not there is none, as with uvicorn: one that is for a developer's machine alone may be named in code.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
from collections.abc import Iterable, Mapping, Sequence

from uvicorn_worker.core.errors import ConfigError

__all__ = ["forget_env_files", "load_env_file", "missing_env_files", "remember_env_files", "set_by_env_files"]

# By the path of each file.
_set_by_file: dict[str, dict[str, str]] = {}
# Pipes, as of `--env-file <(...)`: what is read of them is gone.
_read_once: set[str] = set()


def load_env_file(paths: str | Sequence[str] | None) -> None:
    """Set the variables of these files that are not set yet, the last file first; raises `ConfigError`.

    What they have set before is taken back: they may say something else by now.
    """
    listed = _listed(paths)
    _take_back(listed)
    for path in reversed(listed):
        _load(path)


def missing_env_files(paths: str | Sequence[str] | None) -> list[str]:
    """A line for each of these files that is not there."""
    return [
        f"option env_file = {path!r}: there is no such file"
        for path in _listed(paths)
        if path not in _read_once and (not os.path.exists(path) or os.path.isdir(path))
    ]


def forget_env_files() -> None:
    """Take back what all files have set."""
    _take_back(list(_set_by_file))


def set_by_env_files() -> Mapping[str, dict[str, str]]:
    """What was set, for another process that inherits the environment of this one."""
    return {path: dict(variables) for path, variables in _set_by_file.items()}


def remember_env_files(inherited: Mapping[str, dict[str, str]]) -> None:
    """In that process: what it has inherited is no more than what the files have said."""
    for path, variables in inherited.items():
        _set_by_file.setdefault(path, dict(variables))


def _listed(paths: str | Sequence[str] | None) -> Sequence[str]:
    return [paths] if isinstance(paths, str) else paths or ()


def _take_back(paths: Iterable[str]) -> None:
    for path in paths:
        for name, value in _set_by_file.pop(path, {}).items():
            # What others have set meanwhile stays.
            if os.environ.get(name) == value:
                del os.environ[name]


def _load(path: str) -> None:
    if path in _read_once:
        return
    option = f"option env_file = {path!r}"
    try:
        file = open(path, encoding="utf-8")  # noqa: SIM115 - closed below
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return
    except OSError as exc:
        raise ConfigError(f"{option}: can't be read: {exc.strerror}") from None
    with file:
        if importlib.util.find_spec("dotenv") is None:
            raise ConfigError(
                f"{option}: the package python-dotenv is not installed (uvicorn-worker[dotenv] brings it)"
            )
        import dotenv

        before = dict(os.environ)
        try:
            dotenv.load_dotenv(stream=file, override=False)
        except UnicodeDecodeError:
            raise ConfigError(f"{option}: can't be read: it is not UTF-8") from None
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            _read_once.add(path)
            return
    _set_by_file[path] = {name: value for name, value in os.environ.items() if name not in before}
