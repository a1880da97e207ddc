"""Programs that are no Python packages: a test that needs one is skipped where it is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

__all__ = ["find", "need", "need_node_package"]


def find(name: str) -> str | None:
    """Where a program is: daemons are not on everybody's PATH, what pip installs is beside Python."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), "/usr/sbin"])
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + beside)


def need(name: str) -> str:
    """The same; the test is skipped without it."""
    path = find(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def need_node_package(name: str) -> dict[str, str]:
    """The environment in which Node finds a package: in `node/` of the tests' Python, or on `NODE_PATH`."""
    paths = os.environ.get("NODE_PATH", "").split(os.pathsep)
    folders = [Path(sys.prefix) / "node" / "node_modules", *map(Path, filter(None, paths))]
    for folder in folders:
        if (folder / name / "package.json").is_file():
            return {**os.environ, "NODE_PATH": str(folder)}
    pytest.skip(f"{name} is not installed: npm install --prefix {sys.prefix}/node {name}")
