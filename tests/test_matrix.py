"""Which corners `.ci/matrix.py` chooses, by the Pythons that a machine has; nothing of it is run here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "matrix.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the scripts of .ci are not here")

Version = tuple[int, int]
Corner = tuple[Version, str]
Machine = Callable[..., dict[str, str]]

OLDEST, NEWEST = "gunicorn==23.0.0", "gunicorn==27.*"


@pytest.fixture(scope="module")
def matrix() -> Any:
    spec = importlib.util.spec_from_file_location("matrix", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes it one that has these Pythons, by their places and what they say of themselves; None: they don't run.

    A place is a name on PATH, `pyenv/VERSION`, or `own` for the one that runs the script. Gives their paths.
    """
    path, pyenv = tmp_path / "path", tmp_path / "pyenv"
    path.mkdir()
    pyenv.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("PYENV_ROOT", str(pyenv))

    def make(**pythons: str | None) -> dict[str, str]:
        made = {}
        for place, says in pythons.items():
            version = place.removeprefix("pyenv/")
            file = path / place if version == place else pyenv / "versions" / version / "bin" / "python"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#!/bin/sh\n{'exit 127' if says is None else f'echo {says}'}\n")
            file.chmod(0o755)
            made[place] = str(file)
        monkeypatch.setattr(sys, "executable", made["own"])
        return made

    return make


@pytest.mark.parametrize(
    ("which", "versions", "expected"),
    [
        ("extreme", [(3, 10), (3, 13)], [((3, 10), OLDEST), ((3, 13), NEWEST)]),
        ("all", [(3, 10), (3, 13)], [((3, 10), OLDEST), ((3, 13), NEWEST), ((3, 10), NEWEST), ((3, 13), OLDEST)]),
        # Those between are none of the corners.
        ("extreme", [(3, 10), (3, 11), (3, 12), (3, 15)], [((3, 10), OLDEST), ((3, 15), NEWEST)]),
        # A machine that has newer Pythons only.
        ("extreme", [(3, 14), (3, 15)], [((3, 14), OLDEST), ((3, 15), NEWEST)]),
        # One Python: each Gunicorn once.
        ("extreme", [(3, 14)], [((3, 14), OLDEST), ((3, 14), NEWEST)]),
        ("all", [(3, 15)], [((3, 15), OLDEST), ((3, 15), NEWEST)]),
    ],
)
def test_corners(matrix: Any, which: str, versions: list[Version], expected: list[Corner]) -> None:
    assert matrix.corners(which, versions) == expected


def test_beside_the_oldest_gunicorn_others_are_old_too(matrix: Any) -> None:
    packages = matrix.packages_of(OLDEST)
    assert packages[0] == OLDEST
    names = {each.partition("==")[0] for each in packages[1:]}
    assert names == {"h11", "h2", "hpack", "tomli"}
    assert matrix.packages_of(NEWEST) == [NEWEST]


class TestPythons:
    def test_a_machine_that_has_newer_ones_only(self, matrix: Any, machine: Machine) -> None:
        made = machine(**{"own": "cpython 3 15 2", "python3.14": "cpython 3 14 10", "python3.15": "cpython 3 15 2"})
        assert matrix.find_pythons() == {(3, 14): made["python3.14"], (3, 15): made["own"]}

    def test_the_newest_patch_of_each(self, matrix: Any, machine: Machine) -> None:
        made = machine(
            **{"own": "cpython 3 14 9", "pyenv/3.14.10": "cpython 3 14 10", "pyenv/3.10.13": "cpython 3 10 13"}
        )
        assert matrix.find_pythons() == {(3, 10): made["pyenv/3.10.13"], (3, 14): made["pyenv/3.14.10"]}

    def test_what_is_left_out(self, matrix: Any, machine: Machine) -> None:
        """A shim of one that is not active, one without the GIL, PyPy, and those that are too old or too new."""
        made = machine(
            **{
                "own": "cpython 3 13 1",
                "python3.10": None,
                "python3.14": "free 3 14 10",
                "pyenv/pypy3.11": "pypy 3 11 15",
                "pyenv/3.9.18": "cpython 3 9 18",
                "pyenv/3.16.0": "cpython 3 16 0",
            }
        )
        assert matrix.find_pythons() == {(3, 13): made["own"]}


class TestMain:
    @pytest.fixture
    def ran(
        self, matrix: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> list[tuple[str, list[str], list[str]]]:
        """The corners that were run: their folders, Gunicorns and tests. Those of Gunicorn 23 on Python 3.15 fail."""
        machine(**{"own": "cpython 3 14 10", "python3.15": "cpython 3 15 2"})
        corners: list[tuple[str, list[str], list[str]]] = []

        def run_corner(python: str, packages: list[str], wheel: Path, folder: Path, tests: list[str]) -> bool:
            corners.append((folder.name, packages, tests))
            return folder.name != "python3.15-gunicorn23.0.0"

        monkeypatch.setattr(matrix, "WORK", tmp_path / "work")
        monkeypatch.setattr(matrix, "build_wheel", lambda python: Path("a.whl"))
        monkeypatch.setattr(matrix, "run_corner", run_corner)
        return corners

    def test_all_pass(
        self, matrix: Any, ran: list[tuple[str, list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["matrix.py", "extreme"])
        assert matrix.main() == 0
        # The oldest runs all tests, the others those with real servers.
        (first, second) = ran
        assert (first[0], first[1][0], first[2][0]) == ("python3.14-gunicorn23.0.0", OLDEST, "tests")
        assert second == ("python3.15-gunicorn27", [NEWEST], ["tests/e2e"])
        ignored = [option.partition("=")[2] for option in first[2] if option.startswith("--ignore=")]
        assert ignored
        assert [path for path in ignored if not (SCRIPT.parent.parent / path).is_file()] == []

    def test_the_newest_in_part(
        self, matrix: Any, ran: list[tuple[str, list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["matrix.py", "ci"])
        assert matrix.main() == 0
        (first, second) = ran
        assert (first[2][0], second[0]) == ("tests", "python3.15-gunicorn27")
        assert len(second[2]) > 1
        assert [path for path in second[2] if not (SCRIPT.parent.parent / path).exists()] == []

    def test_one_fails(
        self, matrix: Any, ran: list[tuple[str, list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["matrix.py"])
        assert matrix.main() == 1
        assert [tests[0] for _, _, tests in ran] == ["tests", "tests/e2e", "tests/e2e", "tests/e2e"]

    def test_no_python(
        self, matrix: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        machine(own="pypy 3 11 15")
        monkeypatch.setattr(sys, "argv", ["matrix.py"])
        assert matrix.main() == 2
        assert "no Python of 3.10 to 3.15" in capsys.readouterr().err

    def test_another_word(
        self, matrix: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["matrix.py", "some"])
        assert matrix.main() == 2
        assert "none of all, extreme, ci" in capsys.readouterr().err
