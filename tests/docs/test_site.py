"""The pages as a whole: what is generated is fresh, and what the site brings along is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, pages

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs/ is not here")


def test_charts_are_of_the_tables_that_stand_there() -> None:
    from benchmarks.charts import charts

    for path, text in charts().items():
        assert path.read_text("utf-8") == text, "run 'make bench-charts'"


def test_nothing_is_loaded_from_elsewhere() -> None:
    """The site is complete: it can be read from disk, and tells nobody that it is read."""
    for path in [ROOT / "mkdocs.yml", *(ROOT / "docs" / "assets").iterdir(), *(ROOT / "docs" / "img").iterdir()]:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(src|href|url|import)[=(: ]+[\"']?https?://", text), path


def test_the_readme_reads_alone() -> None:
    """As on PyPI, where there are no files beside it: whole addresses, and no admonitions or snippets of mkdocs."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)]+)\)", text))
    assert "!!!" not in text
    assert "--8<--" not in text
    assert "](docs" not in text
    # What it names is there.
    for name in re.findall(r"`((?:docs|examples)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def test_the_readme_is_rendered_as_on_pypi() -> None:
    markdown = pytest.importorskip("readme_renderer.markdown", reason="readme-renderer is not installed")
    rendered = markdown.render((ROOT / "README.md").read_text("utf-8"))
    assert rendered is not None
    assert re.search("<h1[^>]*>uvicorn-worker<", rendered)
    assert len(re.findall("<pre[ >]", rendered)) >= 5
    # What was left of Markdown would be shown as it is written.
    text = re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", rendered, flags=re.DOTALL)
    assert "```" not in text
    assert "](" not in text


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    there = {str(path.relative_to(ROOT / "docs")) for path in pages() if path.is_relative_to(ROOT / "docs")}
    assert listed == there


def test_options_have_cards_with_addresses() -> None:
    from uvicorn_worker.core.config import RULES

    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    missing = [name for name in RULES if f'<dt id="{name}">' not in text]
    assert missing == []


@pytest.mark.skipif(sys.platform != "linux", reason="paths of the site")
def test_make_docs_says_how_to_open_it() -> None:
    text = Path(ROOT / "Makefile").read_text("utf-8")
    recipe = text.partition("\ndocs:")[2].partition("\n\n")[0]
    assert "file://$(abspath site/index.html)" in recipe
