"""Run the end-to-end tests over the oldest and the newest Python and Gunicorn, and all tests over the oldest.

Usage: python .ci/matrix.py [all | extreme | ci]

``all`` runs the four corners that this machine's Pythons give, ``extreme`` runs the two that differ most: the oldest
Python with the oldest Gunicorn, the newest Python with the newest Gunicorn. ``ci`` runs those as well, the newest with
the tests of the life of workers, of HTTP/2 and of WebSockets alone.

The oldest Python with the oldest Gunicorn runs the other tests, too: `make test` runs them on one Python only. Beside
the oldest Gunicorn are the oldest h11, h2 and hpack that pyproject.toml allows, as in installations pinned years ago.

Each corner has an environment of its own under ``.matrix/``, which is kept for the next run. The package is built once
as a wheel and installed from it, and the tests run in a copy of their own, so what is tested is what users install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".matrix"

PYTHONS = tuple((3, minor) for minor in range(10, 16))
# Older ones serve, too (tests/grid has Gunicorn 20.1), but lack settings that the tests set.
OLDEST_GUNICORN = "gunicorn==23.0.0"
NEWEST_GUNICORN = "gunicorn==27.*"
# Of Gunicorn it is told. tests/grid has the oldest releases of the others, too: the tests' clients are newer ones of
# websockets, httptools' parser is not used before 0.6.3, and it and uvloop have no wheels for the newest Pythons there.
ASIDE = ("gunicorn==", "httptools==", "uvloop==", "websockets==")

# What the tests read, besides the installed package.
NEEDED_BY_TESTS = ("pyproject.toml", "tests", "examples", "docs")

# What starts processes comes first (tests/conftest.py).
SIDE_BY_SIDE = ("--numprocesses", "3", "--dist", "loadfile", "--no-loadscope-reorder")

# Where the newest Python and Gunicorn would show, of the end-to-end tests, which `make test` runs on another Python.
OF_THE_NEWEST = (
    "tests/e2e/lifecycle",
    "tests/e2e/http2",
    "tests/e2e/websocket",
    "tests/e2e/test_boot.py",
    "tests/e2e/test_interfaces.py",
    "tests/e2e/test_signals.py",
    "tests/e2e/test_stop.py",
)

# What only the package's own checkout has to do with, whatever the Python.
OF_THE_CHECKOUT = (
    "tests/test_rooms.py",
    "tests/test_docs.py",
    "tests/docs/test_site.py",
    "tests/docs/test_troubleshooting.py",
)

# One without the GIL is another Python, of which not all wheels are there.
PROBE = """
import ensurepip, sys, sysconfig, venv
print("free" if sysconfig.get_config_var("Py_GIL_DISABLED") else sys.implementation.name, *sys.version_info[:3])
"""


def find_pythons() -> dict[tuple[int, int], str]:
    """The usable Pythons of this machine, one a minor version: the newest patch release that runs.

    A name on PATH proves nothing (pyenv leaves shims of versions that are not active, and Debian's Python may come
    without ensurepip), so each candidate is run.
    """
    candidates = [sys.executable]
    candidates += [path for minor in PYTHONS if (path := shutil.which("python{}.{}".format(*minor)))]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += [str(path) for path in sorted(pyenv.glob("versions/*/bin/python"))]
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for candidate in candidates:
        try:
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        implementation, major, minor, patch = probe.stdout.split()
        version = (int(major), int(minor))
        if implementation == "cpython" and version in PYTHONS and int(patch) > found.get(version, (-1, ""))[0]:
            found[version] = (int(patch), candidate)
    return {version: path for version, (_, path) in sorted(found.items())}


def corners(which: str, versions: list[tuple[int, int]]) -> list[tuple[tuple[int, int], str]]:
    oldest, newest = versions[0], versions[-1]
    extreme = [(oldest, OLDEST_GUNICORN), (newest, NEWEST_GUNICORN)]
    if which in ("extreme", "ci"):
        return extreme
    # A dict keeps the order and drops what is double on a machine with a single Python.
    return list(dict.fromkeys([*extreme, (oldest, NEWEST_GUNICORN), (newest, OLDEST_GUNICORN)]))


def tests_of(version: tuple[int, int], gunicorn: str, oldest: tuple[int, int], which: str) -> list[str]:
    """The tests that a corner runs, as pytest is told; `make test` runs all of them on a newer Python."""
    if (version, gunicorn) != (oldest, OLDEST_GUNICORN):
        return list(OF_THE_NEWEST) if which == "ci" else ["tests/e2e"]
    return ["tests", *(f"--ignore={path}" for path in OF_THE_CHECKOUT)]


def packages_of(gunicorn: str) -> list[str]:
    """What a corner has, as pip is told."""
    if gunicorn != OLDEST_GUNICORN:
        return [gunicorn]
    return [gunicorn, *(each for each in lowest_releases() if not each.startswith(ASIDE))]


def lowest_releases() -> list[str]:
    """The lowest release of each dependency that pyproject.toml allows."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    dependencies = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    return [f"{name}=={release}" for name, release in re.findall(r'"([\w-]+)>=([\d.]+)', dependencies)]


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def build_wheel(base_python: str) -> Path:
    builder = WORK / "build" / "bin" / "python"
    if not builder.exists():
        subprocess.run([base_python, "-m", "venv", str(builder.parent.parent)], check=True)
    wheels = WORK / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    pip(builder, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.glob("*.whl")
    return wheel


def run_corner(base_python: str, packages: list[str], wheel: Path, folder: Path, tests: list[str]) -> bool:
    python = folder / "env" / "bin" / "python"
    if not python.exists():
        subprocess.run([base_python, "-m", "venv", str(folder / "env")], check=True)
    pip(python, "install", f"{wheel}[test]", *packages)
    # The wheel's name stays the same while its content changes, so pip is told to take it anew.
    pip(python, "install", "--force-reinstall", "--no-deps", str(wheel))

    checkout = folder / "checkout"
    shutil.rmtree(checkout, ignore_errors=True)
    checkout.mkdir()
    for name in NEEDED_BY_TESTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, checkout / name)
    # What this script itself was started from (an active environment, say) must not show through.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    finished = subprocess.run(
        [str(python), "-m", "pytest", *tests, "-m", "not long", *SIDE_BY_SIDE],
        cwd=checkout,
        env=environment,
        check=False,
    )
    return finished.returncode == 0


def main() -> int:
    which = sys.argv[1] if len(sys.argv) > 1 else "all"
    if which not in ("all", "extreme", "ci"):
        print(f"matrix: '{which}' is none of all, extreme, ci", file=sys.stderr)
        return 2
    pythons = find_pythons()
    if not pythons:
        print("matrix: no Python of 3.10 to 3.15 that can make environments was found", file=sys.stderr)
        return 2
    for version, path in pythons.items():
        print("matrix: Python {}.{} is {}".format(*version, path), flush=True)
    WORK.mkdir(exist_ok=True)
    wheel = build_wheel(next(iter(pythons.values())))
    results = []
    for version, gunicorn in corners(which, list(pythons)):
        name = "Python {}.{}, {}".format(*version, gunicorn)
        folder = WORK / "python{}.{}-{}".format(*version, gunicorn.replace("==", "").replace(".*", ""))
        print(f"matrix: {name}", flush=True)
        started = time.monotonic()
        tests = tests_of(version, gunicorn, min(pythons), which)
        passed = run_corner(pythons[version], packages_of(gunicorn), wheel, folder, tests)
        results.append(passed)
        print(f"matrix: {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
