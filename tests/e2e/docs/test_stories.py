"""What README, the pages of docs/ and the examples say is done, page by page."""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, Block, blocks
from tests.e2e.docs.examples import Example
from tests.e2e.docs.stories import Story
from tests.programs import need

pytestmark = [pytest.mark.long, pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs/ is not here")]

PAGES: dict[str, list[Block]] = {}
for _block in blocks():
    PAGES.setdefault(_block.page, []).append(_block)

# Programs that a page cannot do without.
NEEDS = {"nginx": "$ nginx", "openssl": "$ openssl", "curl": "$ curl"}


def is_done(block: Block) -> bool:
    """Whether there is something to do for it."""
    return block.language == "console" or (block.language == "python" and block.title.endswith(".py"))


def is_example(page: str) -> bool:
    return page.startswith("examples/")


@pytest.mark.parametrize(
    "page", [name for name, found in PAGES.items() if any(map(is_done, found)) and not is_example(name)]
)
def test_page(page: str) -> None:
    console = "".join(block.text for block in PAGES[page] if block.language == "console")
    for program, command in NEEDS.items():
        if command in console:
            need(program)
    with Story(page) as story:
        for block in PAGES[page]:
            story.tell(block)
        story.finish()


# What the applications of examples need beside the package.
PACKAGES = {
    "cloudrun": ["fastapi"],
    "django": ["django", "channels"],
    "fastapi": ["fastapi", "sqlalchemy", "aiosqlite"],
    "grpc": ["grpc"],
    "litestar": ["litestar"],
    "logging-json": ["pythonjsonlogger"],
    "prometheus": ["prometheus_client"],
    "quart": ["quart"],
}
PROGRAMS = {"chat": ["nginx"], "cluster": ["haproxy"], "haproxy": ["haproxy"], "nginx": ["nginx"]}


@pytest.mark.parametrize("page", [name for name in PAGES if is_example(name)])
def test_example(page: str) -> None:
    name = page.split("/")[1]
    for package in PACKAGES.get(name, ()):
        pytest.importorskip(package)
    for program in ("curl", *PROGRAMS.get(name, ())):
        need(program)
    with Example(page) as example:
        for block in PAGES[page]:
            example.tell(block)
