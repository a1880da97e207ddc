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


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row(row: list[str]) -> None:
    _, _, options, tests = row
    names = re.findall(r"`(tests/[^`]+)`", tests)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
    known = {field.name for field in dataclasses.fields(Config)} | GUNICORN
    assert set(re.findall(r"`([^`]+)`", options)) - known == set()
