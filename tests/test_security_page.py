"""The page on security: each row names tests that are there, and options that exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from uvicorn_worker import Config

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
# Settings of Gunicorn that the worker itself honours.
GUNICORN = {"worker_connections"}


def is_there(name: str) -> bool:
    """Whether there is the folder, the file, or the class or function behind `::` in it."""
    path, _, part = name.partition("::")
    if not part:
        return (ROOT / path).exists()
    return re.search(rf"^(class|def) {part}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) is not None


def text_of(name: str) -> str:
    """The text of the file, or of all files in the folder."""
    path = ROOT / name.partition("::")[0]
    files = [path] if path.is_file() else path.rglob("*.py")
    return "".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row(row: list[str]) -> None:
    _, _, options, tests = row
    names = re.findall(r"`(tests/[^`]+)`", tests)
    assert names
    assert [name for name in names if not is_there(name)] == []
    known = {field.name for field in dataclasses.fields(Config)} | GUNICORN
    named = set(re.findall(r"`([^`]+)`", options))
    assert named - known == set()
    # Each of them is in one of the tests.
    text = "".join(text_of(name) for name in names)
    assert {name for name in named if name not in text and name.replace("_", "-") not in text} == set()
