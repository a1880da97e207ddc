"""Branch coverage of each room by its own tests, which run without the rooms above it; the gate is LEAST percent.

`names` is no room: the modules at the top of the package, which hand out what is in the rooms.

python .ci/coverage_rooms.py              all rooms
python .ci/coverage_rooms.py core tls     these

As many rooms run at the same time as there are processors, those first that take longest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LEAST = 97

HOME = Path(__file__).resolve().parent.parent
# By the time that they take.
ROOMS = [
    "http1", "websocket", "server", "core", "worker", "http2", "switching", "interfaces", "cli", "logs", "master",
    "board", "names", "middleware", "lifespan", "loops", "protocols", "supervisors", "tls", "proxies",
]  # fmt: skip


def run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COVERAGE_FILE": str(data)}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=HOME, env=environment, capture_output=True, text=True, check=False
    )


def measure(room: str, folder: Path) -> tuple[str, bool]:
    """What is to be said of a room, and whether it is good enough."""
    data = folder / "coverage"
    # Those that need to be long cover nothing that the others don't.
    pytest, modules = ["pytest", "-q", "-m", "not long", "-p", "no:cacheprovider"], f"uvicorn_worker/{room}/*"
    if room == "names":
        pytest, modules = [*pytest, "tests/test_public_names.py", "tests/test_uvicorn_names.py"], "uvicorn_worker/*.py"
    else:
        pytest = [*pytest, "-p", "tests.rooms", f"tests/{room}"]
    tests = run(data, "coverage", "run", "-m", *pytest)
    if tests.returncode != 0:
        return f"its tests fail when they run alone\n{tests.stdout[-4000:]}{tests.stderr[-2000:]}", False
    run(data, "coverage", "combine", "--quiet")
    # Files that nobody has imported count, too: `source_pkgs` names the whole package.
    report = run(data, "coverage", "report", f"--include={modules}", f"--fail-under={LEAST}", "--precision=1")
    total = re.search(r"^TOTAL.*?([\d.]+)%", report.stdout, re.MULTILINE)
    if total is None:
        return f"no report\n{report.stdout}{report.stderr}", False
    good = report.returncode == 0
    return f"{total[1]} %" + ("" if good else f", and it should be {LEAST} %\n{report.stdout}"), good


def look_at(room: str) -> bool:
    """Measure a room, say so, and whether it is good enough."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        said, good = measure(room, Path(folder))
    print(f"{room:<11} {time.monotonic() - begun:4.0f} s  {said}", flush=True)
    return good


def main(rooms: list[str]) -> int:
    if unknown := set(rooms) - set(ROOMS):
        print(f"no such room: {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}", file=sys.stderr)
        return 2
    chosen = [room for room in ROOMS if room in rooms or not rooms]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return int(not all(list(pool.map(look_at, chosen))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
