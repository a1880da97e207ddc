"""Fixtures of the HTTP/2 tests with real clients."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Site
from tests.e2e.harness import PATIENCE, Gunicorn

if TYPE_CHECKING:
    Serve = Callable[..., Gunicorn]

H2C = "uvicorn_worker.UvicornH2CWorker"
APPS = str(Path(__file__).parent / "apps")


def run(*command: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """What a program said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module", params=["native", "h2"])
def engine(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that chooses each engine in turn."""
    return {"UVICORN_HTTP2_ENGINE": request.param}


@pytest.fixture(scope="module")
def server(engine: dict[str, str]) -> Iterator[Gunicorn]:
    """One worker that speaks HTTP/2 in cleartext, for all tests of a module."""
    with Gunicorn("h2_probe:app", "--pythonpath", APPS, "--access-logfile", "-", worker=H2C, env=engine) as server:
        server.wait_started()
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Certificate and key of localhost."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def tls_server(engine: dict[str, str], site: Site) -> Iterator[Gunicorn]:
    """The same over TLS."""
    files = ("--certfile", str(site.cert), "--keyfile", str(site.key))
    with Gunicorn("h2_probe:app", "--pythonpath", APPS, *files, worker=H2C, env=engine) as server:
        server.wait_started()
        yield server
