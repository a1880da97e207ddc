"""What the documentation says of other servers' options, and of installing this package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.cli.options import GROUPS
from uvicorn_worker.core.config import RULES
from uvicorn_worker.worker.settings import HONOURED, MASTERS, ROWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
WORDS: dict[str, Any] = tomllib.loads((ROOT / "docs" / "words.toml").read_text("utf-8"))
OURS = {*RULES, *HONOURED, *MASTERS, *(row.setting for row in ROWS)}
# Options of our command alone.
OURS |= {own.word for group in GROUPS.values() for own in group} | {"log_format"}
# Options that say nothing of how a server serves, and the other half of a flag.
LEFT_OUT = re.compile(r"help|version|no-.*|install-completion|show-completion")


def command(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("server", WORDS)
def test_each_option_of_the_command_is_there(server: str) -> None:
    program, env = command(server), {**os.environ, "COLUMNS": "300"}
    done = subprocess.run([program, "--help"], env=env, capture_output=True, text=True, timeout=60, check=True)
    # Where a line begins with an option: names in the text of another one are left out.
    heads = [line.strip() for line in done.stdout.splitlines() if re.match(r" {1,8}-", line)]
    options = {name for head in heads for name in re.findall(r"--([a-z0-9][a-z0-9_-]*)", head.split("   ")[0])}
    options = {name for name in options if not LEFT_OUT.fullmatch(name)}
    assert options == set(WORDS[server]["options"])


@pytest.mark.parametrize("server", WORDS)
def test_each_word_is_one_of_ours(server: str) -> None:
    for option, text in WORDS[server]["options"].items():
        words = re.findall(r"`([a-z0-9_]+)(?: = [^`]*)?`", text)
        known = [word for word in words if word in OURS]
        assert known or text.startswith("none: "), option


def test_no_line_installs_the_other_package_of_this_name() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    for page in pages:
        for line in page.read_text("utf-8").splitlines():
            if re.search(r"(pip install|uv add|poetry add)[^`]* uvicorn-worker", line):
                assert "another project" in line, f"{page}: {line}"


def test_each_option_of_our_command_is_in_its_page() -> None:
    page = (ROOT / "docs" / "command.md").read_text("utf-8")
    program = [sys.executable, "-m", "uvicorn_worker", "--help"]
    env = {**os.environ, "COLUMNS": "300", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=True)
    heads = [line.strip().split("  ")[0] for line in done.stdout.splitlines() if re.match(r" {1,8}-", line)]
    options = {name for head in heads for name in re.findall(r"--[a-z0-9][a-z0-9-]*", head)} - {"--help", "--version"}
    options = {name for name in options if not name.startswith("--no-")}
    assert len(options) > 100
    assert {name for name in options if f"`{name}" not in page and f" {name}" not in page} == set()
