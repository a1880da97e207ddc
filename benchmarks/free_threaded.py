"""What a Python without the GIL brings: requests a second of one process with a WSGI pool, with the GIL and without.

Usage: python -m benchmarks.free_threaded PYTHON [--rounds N] [--seconds N]

PYTHON is a free-threaded interpreter in whose environment Gunicorn and this project are. The same application, some
milliseconds of pure Python, is served by UvicornH11Worker with two threads and with four, with PYTHON_GIL=1 and with
PYTHON_GIL=0, in turns; the clients are another process. The row of docs/pythons.md is from here.
"""

from __future__ import annotations

import argparse
import subprocess
from statistics import median

from .curves import load, server
from .options import count

CLIENTS = 8
# One would be Gunicorn's default, which stands for a pool of another size.
THREADS = (2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.free_threaded")
    parser.add_argument("python", metavar="PYTHON")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=count, default=3, help="of one round (3)")
    given = parser.parse_args()
    asks = "import sys; sys.exit(0 if hasattr(sys, '_is_gil_enabled') and not sys._is_gil_enabled() else 1)"
    if subprocess.run([given.python, "-c", asks], check=False, env={"PYTHON_GIL": "0"}).returncode:
        parser.error(f"{given.python} cannot do without the GIL: name a free-threaded Python, as python3.14t")
    rows: dict[tuple[int, int], list[float]] = {}
    for _ in range(given.rounds):
        for threads in THREADS:
            for gil in (1, 0):
                rows.setdefault((threads, gil), []).append(_rate(given.python, threads, gil, given.seconds))
    print("| Threads of the pool | requests/s with the GIL | without | ratio |\n|---:|---:|---:|---:|")
    for threads in THREADS:
        with_gil, without = median(rows[threads, 1]), median(rows[threads, 0])
        print(f"| {threads} | {with_gil:,.0f} | {without:,.0f} | {without / with_gil:.2f}x |")


def _rate(python: str, threads: int, gil: int, seconds: float) -> float:
    options = {"UVICORN_INTERFACE": "wsgi", "PYTHON_GIL": str(gil)}
    with server("computes", "--threads", str(threads), python=python, worker="UvicornH11Worker", **options) as running:
        load(running.path, "/", CLIENTS, 0.5)
        return load(running.path, "/", CLIENTS, seconds).rate


if __name__ == "__main__":
    main()
