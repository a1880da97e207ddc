"""What `.ci/newest.py` makes of a machine on which it can't have what it needs; no system is made here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "newest.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the scripts of .ci are not here")

# A machine, by what its tools do: the text of a script in the place of each.
Machine = Callable[..., None]

# What there is in a system that was made; its Pythons are told by chroot, and what is run in it ends well.
MAKES = 'for last; do :; done; mkdir -p "$last/etc" "$last/env-3.14/bin" && touch "$last/env-3.14/bin/pip"'
ENTERS = 'shift 3; [ "$1" != sh ] || exit 0; exec "$@"'
GOOD = {"debootstrap": MAKES, "unshare": ENTERS, "chroot": "echo python3.13 python3.15 python3.14 python3.14-venv"}


@pytest.fixture
def newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("newest", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WORK", tmp_path / "work")
    monkeypatch.setattr(module, "SYSTEM", tmp_path / "work" / "root")
    return module


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes it one with these tools alone: each a line of the shell."""
    path = tmp_path / "path"
    path.mkdir()
    for name in ("timeout", "mkdir", "touch", "true", "sleep", "sh"):
        program = shutil.which(name)
        assert program is not None
        (path / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def make(**tools: str) -> None:
        for name, does in tools.items():
            file = path / name
            file.write_text(f"#!/bin/sh\n{does}\n")
            file.chmod(0o755)

    return make


@pytest.fixture
def run(newest: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs it with these arguments: its exit code, what it has printed, and what it was to run of pytest."""

    def run(*arguments: str, passes: bool = True) -> tuple[int, str, list[tuple[str, list[str]]]]:
        ran: list[tuple[str, list[str]]] = []

        def run_tests(python: str, options: list[str]) -> bool:
            ran.append((python, options))
            return passes

        monkeypatch.setattr(newest, "run_tests", run_tests)
        monkeypatch.setattr(sys, "argv", ["newest.py", *arguments])
        code = newest.main()
        out, err = capfd.readouterr()
        return code, out + err, ran

    return run


class TestLeftOut:
    """In CI it is one line, and no failure; otherwise it is one."""

    @pytest.mark.parametrize(
        ("tools", "why"),
        [
            ({**GOOD, "debootstrap": None}, "not installed: debootstrap"),
            ({**GOOD, "unshare": "exit 1"}, "may not mount"),
            ({**GOOD, "debootstrap": "exit 7"}, "debootstrap: exit code 7"),
            ({**GOOD, "unshare": 'shift 3; [ "$1" != sh ] || exit 9; exec "$@"'}, "apt-get update"),
            ({**GOOD, "chroot": "echo python3.13"}, "Debian has none from 3.14 on"),
        ],
        ids=["no debootstrap", "no mounts", "no mirror", "no packages", "no Python"],
    )
    def test_it_says_why(self, run: Any, machine: Machine, tools: dict[str, str | None], why: str) -> None:
        machine(**{name: does for name, does in tools.items() if does is not None})
        code, said, ran = run("--ci")
        assert (code, ran) == (0, [])
        assert said.startswith("newest: left out: ")
        assert why in said
        assert said.count("\n") == 1
        code, said, ran = run("3.14") if "none from" not in why else run()
        assert (code, ran) == (2, [])
        assert why in said

    def test_without_root(self, run: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine(**GOOD)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert run("--ci")[:2] == (
            0,
            "newest: left out: root is needed, which debootstrap and chroot want: sudo make test-newest\n",
        )
        assert run()[0] == 2

    def test_a_mirror_that_does_not_answer(
        self, newest: Any, run: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(newest, "CI_PATIENCE", 1)
        machine(**{**GOOD, "debootstrap": "exec sleep 1000"})
        assert run("--ci") == (0, "newest: left out: debootstrap: exit code 124\n", [])


class TestRun:
    @pytest.fixture(autouse=True)
    def good(self, machine: Machine) -> None:
        machine(**GOOD)

    def test_ci_takes_the_first_and_some_tests(self, newest: Any, run: Any) -> None:
        code, said, ran = run("--ci")
        assert ran, said
        [(python, options)] = ran
        assert (code, python) == (0, "/env-3.14/bin/python")
        assert "newest: Python 3.14: passed" in said
        paths = [option for option in options if option.startswith("tests/")]
        assert paths == list(newest.CI_TESTS)
        assert all((SCRIPT.parent.parent / path).exists() for path in paths)

    def test_what_fails_there_fails_ci(self, run: Any) -> None:
        code, said, _ = run("--ci", passes=False)
        assert code == 1
        assert "Python 3.14: FAILED" in said

    def test_all_of_them(self, newest: Any, run: Any) -> None:
        code, _, ran = run()
        assert (code, [python for python, _ in ran]) == (0, ["/env-3.14/bin/python", "/env-3.15/bin/python"])
        assert [options for _, options in ran] == [list(newest.SIDE_BY_SIDE)] * 2

    def test_one_with_options(self, run: Any) -> None:
        assert run("3.15", "--", "tests/http1", "-x")[2] == [("/env-3.15/bin/python", ["tests/http1", "-x"])]

    def test_another_word(self, run: Any) -> None:
        assert run("3")[:2] == (2, "newest: not a version as 3.14: 3\n")
        assert run("--ci", "3.14")[0] == 2

    def test_the_checkout_is_copied(self, newest: Any, run: Any) -> None:
        run("--ci")
        there = newest.SYSTEM / "src"
        assert (there / "pyproject.toml").exists()
        assert (there / ".ci" / "newest.py").exists()
        assert not (there / ".venv").exists()
