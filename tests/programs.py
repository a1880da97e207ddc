"""Programs that are no Python packages: a test that needs one is skipped where it is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

__all__ = ["find", "need"]


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
