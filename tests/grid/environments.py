"""An environment for each entry, made once below `.grid/` by Python's venv and pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.e2e.harness import APPS

__all__ = ["ROOT", "Environment", "peer"]

ROOT = Path(__file__).parents[2]

#: What users come from, and what a difference is judged by.
PEER = ("uvicorn-worker==0.4.0", "uvicorn==0.54.0", "click")

# Tells the versions of distributions and of Python, as JSON.
_VERSIONS = """
import importlib.metadata, json, platform, sys
print(json.dumps([platform.python_version(), {name: importlib.metadata.version(name) for name in sys.argv[1:]}]))
"""


class NotInstalled(Exception):
    """pip could not install what an environment is to hold, and what it said."""


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"pip install {' '.join(arguments)}:\n{done.stderr[-2000:]}")


class Environment:
    """`.grid/NAME-PYTHON`, with this package as it is in the checkout, and `packages`."""

    def __init__(self, name: str, packages: tuple[str, ...], base: str = sys.executable) -> None:
        version = subprocess.run(
            [base, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        self.name = f"{name.lower().replace(' ', '-')}-{version}"
        self.packages = packages
        self.folder = ROOT / ".grid" / self.name
        self.python = self.folder / "bin" / "python"
        self._base = base

    def make(self) -> None:
        """Nothing where it is complete; what was asked for is written into it last."""
        done = self.folder / ".packages"
        wanted = json.dumps(self.packages)
        if done.is_file() and done.read_text() == wanted:
            return
        if not self.python.exists():
            subprocess.run([self._base, "-m", "venv", str(self.folder)], check=True)
        _pip(self.python, "--editable", ".", *self.packages)
        done.write_text(wanted)

    def versions(self, *more: str) -> tuple[str, dict[str, str]]:
        """Python's, and those of the packages."""
        names = [Requirement(package).name for package in (*self.packages, *more)]
        command = [str(self.python), "-c", _VERSIONS, *names]
        python, versions = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return python, versions


def peer(environment: Environment) -> dict[str, str]:
    """The variables by which an environment serves with PyPI's worker of the same name in the place of ours."""
    folder = ROOT / ".grid" / f"peer-{environment.name.rpartition('-')[2]}"
    if not (folder / ".complete").exists():
        _pip(environment.python, "--target", str(folder), "--no-deps", *PEER)
        (folder / ".complete").touch()
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(APPS)))}
