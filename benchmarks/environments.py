"""A virtual environment for each server, because PyPI's uvicorn-worker has our import name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .servers import Server

REPOSITORY = Path(__file__).resolve().parent.parent
APPS = REPOSITORY / "benchmarks" / "apps"
BENCH = REPOSITORY / ".bench"

# Only what programs need to run: settings such as PYTHONPATH, GUNICORN_CMD_ARGS or WEB_CONCURRENCY stay outside.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")

_PROBE = """
import importlib.metadata, importlib.util, json, platform
spec = importlib.util.find_spec("uvicorn_worker")
names = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
print(json.dumps({
    "python": f"{platform.python_implementation()} {platform.python_version()}",
    "packages": names,
    "uvicorn_worker": spec.origin if spec else None,
}))
"""


class SetupError(Exception):
    """An environment could not be made or is not what it should be."""


@dataclass(frozen=True)
class Environment:
    bin: Path
    python: str
    packages: dict[str, str]
    notes: tuple[str, ...]


def clean_variables() -> dict[str, str]:
    """The environment variables that servers are started with."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


def ensure(server: Server, python: str) -> Environment:
    """Make the environment of *server* unless it is there with the same pins; return what is in it."""
    BENCH.mkdir(exist_ok=True)
    (BENCH / ".gitignore").write_text("*\n")
    directory = BENCH / server.environment_name
    stamp = directory / "pins.json"
    wanted = _pins(server, python)
    recorded = json.loads(stamp.read_text()) if stamp.exists() else {}
    if recorded.get("pins") != wanted:
        recorded = {"pins": wanted, "notes": _make(server, python, directory)}
        stamp.write_text(json.dumps(recorded, indent=2))
    return _probe(server, directory / "bin", tuple(recorded["notes"]))


def _pins(server: Server, python: str) -> dict[str, object]:
    """Everything whose change calls for a new environment."""
    version = _output([python, "-c", "import sys; print(sys.executable, sys.version)"])
    pins: dict[str, object] = {"python": version, "requirements": server.requirements, "optional": server.optional}
    if server.checkout:
        # Only the metadata counts: the code itself is installed editable.
        project = REPOSITORY / "pyproject.toml"
        if not project.exists():
            raise SetupError("this checkout has no pyproject.toml")
        pins["project"] = hashlib.sha256(project.read_bytes()).hexdigest()
    # As it comes back from the stamp file: lists, not tuples.
    return dict(json.loads(json.dumps(pins)))


def _make(server: Server, python: str, directory: Path) -> list[str]:
    shutil.rmtree(directory, ignore_errors=True)
    _output([python, "-m", "venv", str(directory)])
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    checkout = ["-e", str(REPOSITORY)] if server.checkout else []
    _output([*pip, *server.requirements, *checkout])
    notes = []
    for requirement in server.optional:
        try:
            _output([*pip, requirement])
        except SetupError:
            notes.append(f"{requirement} could not be installed")
    return notes


def _probe(server: Server, bin_directory: Path, notes: tuple[str, ...]) -> Environment:
    # Asked in the directory and with the variables that the server will have, so that the answer holds for it.
    found = json.loads(_output([str(bin_directory / "python"), "-c", _PROBE], cwd=APPS, env=clean_variables()))
    origin = found["uvicorn_worker"]
    is_checkout = origin is not None and Path(origin).is_relative_to(REPOSITORY / "uvicorn_worker")
    if is_checkout != server.checkout:
        raise SetupError(f"would import uvicorn_worker from {origin}")
    return Environment(bin_directory, found["python"], found["packages"], notes)


def _output(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise SetupError(f"{Path(command[0]).name} {' '.join(command[1:3])} ... failed:\n{tail}")
    return done.stdout.strip()
