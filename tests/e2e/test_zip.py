"""The package imported from a zip file, as zipapps and bundles of one file have it."""

from __future__ import annotations

import signal
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn_worker
from tests.e2e.harness import H11, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

PACKAGE = Path(uvicorn_worker.__file__).parent
APP = """
import uvicorn_worker

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": uvicorn_worker.__file__.encode()})
"""


def test_it_serves_and_reloads(serve: Serve, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for file in PACKAGE.rglob("*.py"):
            archive.write(file, file.relative_to(PACKAGE.parent))
    server = serve("app:app", worker=H11, files={"app.py": APP}, env={"PYTHONPATH": str(bundle)})
    assert server.get("/").text == str(bundle / "uvicorn_worker" / "__init__.py")
    [before] = server.workers()
    server.signal(signal.SIGHUP)
    until(lambda: before not in server.workers() and server.workers(), "another worker")
    assert server.get("/").text.startswith(str(bundle))
    assert "Traceback" not in server.log
