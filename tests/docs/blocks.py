"""The fenced blocks of README.md, docs/ and the READMEs of examples/, as their readers see them.

A block is known by its info string: the language, and a title where it is a file. The tests beside this module, and
those in tests/e2e/docs, take every block by its language, so that a new one is covered without being named anywhere.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "Block", "Command", "blocks", "commands", "pages"]

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)$")
_SNIPPET = re.compile(r' *--8<-- "([^"]+)"$')
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True)
class Block:
    """One fence: `language` and `title` are empty where the info string has none; `classes` are those of `{.a .b}`.

    `recipe` is the heading of the third level that it stands below, where there is one.
    """

    page: str
    line: int
    language: str
    classes: frozenset[str]
    title: str
    text: str
    recipe: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the lines that are shown below it."""

    prompt: str
    line: str
    output: tuple[str, ...]


def pages() -> list[Path]:
    """README.md, the pages of docs/ and of examples/; those that are the same text elsewhere are in it once."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found += sorted((ROOT / "examples").glob("*/README.md"))
    return [page for page in found if page.exists()]


@cache
def blocks(*languages: str) -> tuple[Block, ...]:
    """All blocks, or those of the languages."""
    found = [block for page in pages() for block in _read(page)]
    return tuple(block for block in found if not languages or block.language in languages)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block, with their output. `$` is a user's prompt, `#` that of root."""
    prompt, line, output = "", "", list[str]()
    for text in block.text.splitlines():
        if line.endswith("\\"):
            line = line[:-1] + text.removeprefix("> ")
        elif text.startswith(("$ ", "# ")):
            if line:
                yield Command(prompt, _without_comment(line), tuple(output))
            prompt, line, output = text[0], text[2:], []
        else:
            output.append(text)
    if line:
        yield Command(prompt, _without_comment(line), tuple(output))


def _without_comment(line: str) -> str:
    """A comment behind a command is for the reader; one in quotes is none."""
    head, mark, _ = line.partition("  #")
    try:
        shlex.split(head)
    except ValueError:
        return line
    return head.rstrip() if mark else line


def _read(page: Path) -> Iterator[Block]:
    recipe = ""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        opened = _FENCE.match(line)
        if opened is None:
            if line.startswith(("# ", "## ", "### ")):
                recipe = line[4:] if line.startswith("### ") else ""
            continue
        indent, ticks, info = len(opened["indent"]), opened["ticks"], opened["info"].strip()
        body = []
        for _, inner in lines:
            if inner.strip() == ticks:
                break
            body.append(_snippet(found) if (found := _SNIPPET.match(inner)) else inner[indent:])
        else:
            raise AssertionError(f"{page}:{number}: a fence that is never closed")
        language, classes = _language(info)
        title = named[1] if (named := _TITLE.search(info)) else ""
        yield Block(str(page.relative_to(ROOT)), number, language, classes, title, "\n".join(body) + "\n", recipe)


def _language(info: str) -> tuple[str, frozenset[str]]:
    if info.startswith("{"):
        classes = re.findall(r"(?<=\.)[\w-]+", _TITLE.sub("", info))
        return (classes[0] if classes else ""), frozenset(classes[1:])
    return (info.split(maxsplit=1)[0] if info else ""), frozenset()


def _snippet(found: re.Match[str]) -> str:
    return (ROOT / found[1]).read_text("utf-8").rstrip("\n")
