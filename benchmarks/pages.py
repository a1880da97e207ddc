"""Puts tables into docs/performance.md, below the headings of their scenarios, and draws its charts anew."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import charts

__all__ = ["replaced", "write"]

PAGE = charts.DOCS / "performance.md"


def replaced(page: str, tables: Mapping[str, str]) -> tuple[str, list[str]]:
    """*page* with the first table below each heading `### NAME: ...` replaced; the names without such a place."""
    missing = []
    for name, table in tables.items():
        heading = re.search(rf"^### {re.escape(name)}: .*\n", page, re.MULTILINE)
        after = page[heading.end() :] if heading else ""
        section = re.split(r"^#{1,6} ", after, maxsplit=1, flags=re.MULTILINE)[0]
        old = re.search(r"^\|.*\n(\|.*\n)*", section, re.MULTILINE)
        if heading is None or old is None:
            missing.append(name)
            continue
        start, end = heading.end() + old.start(), heading.end() + old.end()
        page = f"{page[:start]}{table}\n{page[end:]}"
    return page, missing


def write(tables: Mapping[str, str]) -> list[str]:
    """Write page and charts; the names of tables that have no place there."""
    page, missing = replaced(PAGE.read_text("utf-8"), tables)
    PAGE.write_text(page, "utf-8")
    charts.write()
    return missing
