"""What the log calls an entry of docs/troubleshooting.md is one."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT
from uvicorn_worker.core.explained import explained

PAGE = ROOT / "docs" / "troubleshooting.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not here")


def slug(heading: str) -> str:
    """The anchor of a heading, as Markdown makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def test_each_entry_that_the_log_names_is_there() -> None:
    entries = {slug(heading) for heading in re.findall(r"(?m)^## (.+)$", PAGE.read_text("utf-8"))}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "uvicorn_worker").rglob("*.py"))
    named = re.findall(r"""explained\(["']([^"']+)["']\)""", sources)
    assert len(named) >= 5
    assert set(named) <= entries


def test_each_entry_that_shows_a_line_is_named_by_the_log() -> None:
    sections = re.split(r"(?m)^## ", PAGE.read_text("utf-8"))[1:]
    shown = {slug(section.partition("\n")[0]) for section in sections if "```text" in section}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "uvicorn_worker").rglob("*.py"))
    named = set(re.findall(r"""explained\(["']([^"']+)["']\)""", sources))
    assert len(shown) >= 5
    assert shown <= named


def test_the_words_lead_to_the_page() -> None:
    path, _, entry = explained("worker-timeout").strip("()").partition("#")
    assert (ROOT / path).is_file()
    assert entry == "worker-timeout"
