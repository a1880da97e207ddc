"""Files of Starlette and Django behind Gunicorn: what is on the wire, and whether the kernel has sent it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import HTTPTOOLS, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

SIZE = 3_000_000


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module", params=["", "--no-sendfile"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> Iterator[Gunicorn]:
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "download.bin").write_bytes(content)
    options = ["--access-logfile", "access.log", "--access-logformat", "%(r)s %(s)s %(B)s"]
    options += [request.param] if request.param else []
    with Gunicorn("files_app:app", *options, worker=HTTPTOOLS, env={"E2E_DIR": str(folder)}) as server:
        yield server


@pytest.fixture
def client(server: Gunicorn) -> Iterator[httpx.Client]:
    with server.client() as client:
        client.get("/calls")
        yield client


@pytest.mark.parametrize("path", ["/file", "/static/download.bin"])
def test_starlette_lets_the_kernel_send(server: Gunicorn, client: httpx.Client, content: bytes, path: str) -> None:
    response = client.get(path)
    assert response.content == content
    assert response.headers["content-length"] == str(SIZE)
    count, size = client.get("/calls").json()
    assert size == (0 if "--no-sendfile" in server.command else SIZE)
    # Nothing was tried in vain.
    assert count <= SIZE // 10_000


def test_a_range_is_read_by_starlette(client: httpx.Client, content: bytes) -> None:
    response = client.get("/static/download.bin", headers={"range": "bytes=1000-1999999"})
    assert response.status_code == 206
    assert response.content == content[1000:2_000_000]
    assert client.get("/calls").json() == [0, 0]


def test_django_reads_by_itself(client: httpx.Client, content: bytes) -> None:
    response = client.get("/django/file")
    assert response.content == content
    assert client.get("/calls").json() == [0, 0]


def test_head_sends_nothing(client: httpx.Client) -> None:
    assert client.head("/static/download.bin").headers["content-length"] == str(SIZE)
    assert client.get("/calls").json() == [0, 0]


def test_the_access_log_has_the_size(server: Gunicorn, client: httpx.Client) -> None:
    client.get("/file")
    until(lambda: f"GET /file HTTP/1.1 200 {SIZE}" in server.read("access.log") or None, "the access line")
