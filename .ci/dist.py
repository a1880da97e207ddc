"""Build the distributions, have twine check them, and serve a request with each, installed into an empty environment.

python .ci/dist.py        writes dist/*.tar.gz and dist/*.whl
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
DIST = HOME / "dist"
WORKERS = ["UvicornWorker", "UvicornH11Worker", "UvicornH2CWorker"]
SECONDS = 30

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""


def run(*command: str | Path, cwd: Path = HOME) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


def serve(python: Path, worker: str, folder: Path) -> None:
    """Ask Gunicorn with a worker class for a page, and let it stop."""
    log = folder / f"{worker}.log"
    with log.open("w") as stderr:
        server = subprocess.Popen(
            [python, "-m", "gunicorn", "app:app", "-k", f"uvicorn_worker.{worker}", "--bind", "127.0.0.1:0"],
            cwd=folder, stderr=stderr,
        )  # fmt: skip
    try:
        address = listening(server, log)
        with urllib.request.urlopen(address, timeout=SECONDS) as response:  # noqa: S310 - our own server
            body = response.read()
        server.send_signal(signal.SIGTERM)
        code = server.wait(SECONDS)
    finally:
        server.kill()
        server.wait()
    if (body, code) != (b"hello", 0):
        raise SystemExit(f"{worker}: answered {body!r}, left with code {code}\n{log.read_text()}")
    print(f"{worker}: served a request and stopped", flush=True)


def listening(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise SystemExit(f"gunicorn does not listen\n{log.read_text()}")


def smoke(distribution: Path) -> None:
    """Install a distribution alone, away from the checkout, and use it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distribution, cwd=folder)
        run(python, "-m", "pip", "check", cwd=folder)
        (folder / "app.py").write_text(APP)
        where = "import uvicorn_worker as u; print(u.__version__, u.__file__); [getattr(u, name) for name in u.__all__]"
        run(python, "-c", where, cwd=folder)
        for worker in WORKERS:
            serve(python, worker, folder)


def main() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    made = sorted(DIST.iterdir())
    if [path.suffix for path in made] != [".whl", ".gz"]:
        raise SystemExit(f"made {made}, not a wheel and a source distribution")
    run(sys.executable, "-m", "twine", "check", "--strict", *made)
    for distribution in made:
        smoke(distribution)


if __name__ == "__main__":
    main()
