"""The site as readers have it: built as `make docs` builds it, and opened from disk in a real browser."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from tests.e2e.harness import PATIENCE
from tests.e2e.websocket.browser import Page, find_chromium, open_page

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    not (ROOT / "mkdocs.yml").is_file() or importlib.util.find_spec("material") is None,
    reason="mkdocs-material is not installed (extra docs)",
)
in_browser = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed")

# Scripts that fail, what can't be loaded, what is said in the console; and what is copied.
WATCH = """
window.faults = [];
window.addEventListener("error", event => faults.push(event.message || event.target.src || event.target.href), true);
window.addEventListener("unhandledrejection", event => faults.push(String(event.reason)));
for (const level of ["error", "warn"]) console[level] = (...words) => faults.push(words.join(" "));
document.execCommand = () => { window.copied = document.activeElement.value ?? String(getSelection()); return true; };
"""
# What is not whole in the window, and in nothing that can be scrolled.
TOO_WIDE = """
(() => {
  const room = document.documentElement.clientWidth;
  const scrolls = each => each.tagName != "ARTICLE" &&
    (["auto", "scroll"].includes(getComputedStyle(each).overflowX) || scrolls(each.parentElement));
  return [...document.querySelectorAll("article *")].filter(
    each => each.getBoundingClientRect().right > room + 1 && !scrolls(each)).slice(0, 5).map(
    each => each.outerHTML.slice(0, 80));
})()
"""
# How far apart the lightness of an element's text and of what it stands on are: WCAG's ratio, up to 21.
CONTRAST = """
(() => {
  const lightness = colour => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map(
      each => each / 255 <= 0.03928 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = lightness(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(%s)].map(each => {
    const style = getComputedStyle(each), text = lightness(each instanceof SVGElement ? style.fill : style.color);
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
  });
})()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=2 * PATIENCE)
    return folder


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_page("--hide-scrollbars") as opened:
        opened.before_each_page(WATCH)
        yield opened


def show(page: Page, path: Path) -> None:
    """All its scripts have run."""
    page.go(path.as_uri())
    page.wait(f"location.href == {json.dumps(path.as_uri())} && document.readyState == 'complete'")


class Addresses(HTMLParser):
    """The addresses that a page has, and those that it names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.named: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in {"id", "name"}:
                self.ids.add(value)
            elif value and name in {"href", "src"}:
                self.named.append(value)


def test_each_link_leads_somewhere(site: Path) -> None:
    pages = {path: Addresses(path) for path in site.rglob("*.html")}
    assert len(pages) > 30
    lost = []
    for path, addresses in pages.items():
        for named in addresses.named:
            target, fragment = urldefrag(named)
            if urlsplit(target).scheme or target.startswith(("//", "data:")):
                continue
            # On a server this page stands for any address, so it names others from the top.
            folder = site if path.name == "404.html" else path.parent
            there = (folder / unquote(target).lstrip("/")).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            known = pages.get(there)
            if not there.exists() or (fragment and known is not None and unquote(fragment) not in known.ids):
                lost.append(f"{path.relative_to(site)}: {named}")
    assert lost == []


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_each_page_fits(site: Path, page: Page, width: int) -> None:
    """The articles of all pages take turns in one that is open, which is much faster than to open each."""
    page.look(width, "light")
    show(page, site / "index.html")
    found = {}
    for path in sorted(site.rglob("*.html")):
        _, _, article = path.read_text("utf-8").partition("<article")
        if article:
            article = article.partition(">")[2].partition("</article>")[0]
            page.run(f"void (document.querySelector('article').innerHTML = {json.dumps(article)})")
            if wide := page.run(TOO_WIDE):
                found[str(path.relative_to(site))] = wide
    assert found == {}
    # Something that does not fit would be found.
    page.run("void (document.querySelector('article').innerHTML = '<p><img width=2000 height=9></p>')")
    page.run("void (document.querySelector('article img').style.maxWidth = 'none')")
    assert page.run(TOO_WIDE)


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_and_charts_can_be_read(site: Path, page: Page, width: int, colours: str) -> None:
    page.look(width, colours)
    show(page, site / "performance.html")
    scheme = {"light": "default", "dark": "slate"}[colours]
    page.wait(f"document.body.dataset.mdColorScheme == '{scheme}'")
    for what, least in (("article p", 4.5), ("article h2", 4.5), ("figure svg text", 4.5), ("figure svg tspan", 3)):
        ratios = page.run(CONTRAST % json.dumps(what))
        assert ratios, what
        assert min(ratios) >= least, what
    assert page.run("faults") == []


@in_browser
@pytest.mark.parametrize("width", [1400, 390])
def test_the_search_works_from_disk(site: Path, page: Page, width: int) -> None:
    page.look(width, "light")
    show(page, site / "deploy" / "nginx.html")
    page.run("""
        document.getElementById("__search").click();
        const box = document.querySelector("[data-md-component=search-query]");
        box.focus(); box.value = "graceful_timeout"; box.dispatchEvent(new Event("input", {bubbles: true}));
        box.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
    """)
    page.wait("document.querySelectorAll('.md-search-result__link').length > 0")
    target = page.run("document.querySelector('.md-search-result__link').href")
    assert Path(unquote(urlsplit(target).path)).is_relative_to(site)
    assert Path(unquote(urlsplit(target).path)).is_file()
    assert page.run("faults") == []


@in_browser
def test_the_box_filters_the_settings(site: Path, page: Page) -> None:
    page.look(1400, "light")
    show(page, site / "settings.html")
    page.wait("document.querySelector('.settings-filter') !== null")
    shown = "[...document.querySelectorAll('dl.settings > div')].filter(each => each.offsetParent).length"
    everything = page.run(shown)
    type_in = """
        (text => {{
          const box = document.querySelector(".settings-filter");
          box.value = text; box.dispatchEvent(new Event("input"));
        }})({})
    """
    page.run(type_in.format("'limit_request_line'"))
    assert 0 < page.run(shown) < everything
    assert page.run("document.getElementById('limit_request_line').offsetParent !== null")
    page.run(type_in.format("'xyzzy'"))
    assert page.run(shown) == 0
    page.run(type_in.format("''"))
    assert page.run(shown) == everything
    assert page.run("faults") == []


@in_browser
def test_what_is_copied_has_no_prompt(site: Path, page: Page) -> None:
    page.look(1400, "light")
    show(page, site / "start" / "quickstart.html")
    page.wait("document.querySelectorAll('.language-console [data-clipboard-target]').length > 0")
    blocks = page.run("document.querySelectorAll('.language-console [data-clipboard-target]').length")
    for number in range(blocks):
        page.run("window.copied = null")
        page.run(f"document.querySelectorAll('.language-console [data-clipboard-target]')[{number}].click()")
        copied = page.run("window.copied")
        assert copied
        assert not any(line.startswith(("$ ", "# ")) for line in copied.splitlines()), copied
