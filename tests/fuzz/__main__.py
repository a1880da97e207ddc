"""`python -m tests.fuzz`: run the harnesses for minutes, by coverage where atheris is installed.

Each harness has a process of its own, one after the other, and its part of the time. What is found is printed with the
input, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    if options.one:
        _run_one(options.one, options.seconds, options.seed)
        return 0
    from tests.fuzz.harnesses import HARNESSES

    names = options.only or list(HARNESSES)
    guided = importlib.util.find_spec("atheris") is not None
    _say("by coverage (atheris)" if guided else "mutations at random: atheris is not installed (extra fuzz)")
    failed = []
    for name in names:
        seconds = options.seconds / len(names)
        _say(f"== {name}, {seconds:.0f} s")
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--seconds", f"{seconds:.0f}"]
        if subprocess.run([*command, "--seed", str(options.seed)], check=False).returncode:
            failed.append(name)
    _say(f"found something: {', '.join(failed)}" if failed else "nothing was found")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all of them together (600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations (the time)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these harnesses")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_one(name: str, seconds: float, seed: int) -> None:
    if importlib.util.find_spec("atheris") is None:
        from tests.fuzz.driver import search
        from tests.fuzz.harnesses import HARNESSES

        tried = search(name, HARNESSES[name], seed, sys.maxsize, seconds)
        _say(f"{tried} inputs")
        return
    atheris: Any = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["uvicorn_worker"]):
        from tests.fuzz.harnesses import HARNESSES
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(HARNESSES[name].seeds):
            (Path(folder) / str(number)).write_bytes(data)
        limits = [
            f"-max_total_time={seconds:.0f}",
            "-max_len=4096",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=1",
        ]
        atheris.Setup([sys.argv[0], *limits, f"-seed={seed}", folder], HARNESSES[name].run)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
