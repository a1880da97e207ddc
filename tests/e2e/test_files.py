"""Files of frameworks behind Gunicorn: what is on the wire, and whether the kernel has sent it."""

from __future__ import annotations

import os
import re
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.certificates import Site, client_context
from tests.e2e.harness import HTTPTOOLS, PATIENCE, Gunicorn, until
from tests.memory import counts_references

if TYPE_CHECKING:
    from collections.abc import Iterator

H2C = "uvicorn_worker.UvicornH2CWorker"
SIZE = 3_000_000
# A file that is larger than what a worker may grow by while it is sent.
LARGE, MOST = 40_000_000, 20_000
WSGI = {"UVICORN_INTERFACE": "wsgi"}
# Where no file is the kernel's to send, one server is enough.
once = pytest.mark.parametrize("server", [""], indirect=True)


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> Path:
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "download.bin").write_bytes(content)
    (folder / "zeros.txt").write_bytes(bytes(50_000))
    with (folder / "large.bin").open("wb") as file:
        file.truncate(LARGE)
    return folder


@pytest.fixture(scope="module", params=["", "--no-sendfile"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Gunicorn]:
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


def test_middleware_sees_the_bodies_of_files(folder: Path, content: bytes) -> None:
    """It was written for servers that send no files by themselves."""
    with (
        Gunicorn("files_app:behind", worker=HTTPTOOLS, env={"E2E_DIR": str(folder)}) as server,
        server.client() as client,
    ):
        response = client.get("/injected/download.bin", headers={"accept-encoding": "identity"})
        assert response.content == content + b"injected"
        assert client.get("/zipped/zeros.txt").headers["content-encoding"] == "gzip"
        assert client.get("/calls").json() == [0, 0]


def test_a_range_is_read_by_starlette(client: httpx.Client, content: bytes) -> None:
    response = client.get("/static/download.bin", headers={"range": "bytes=1000-1999999"})
    assert response.status_code == 206
    assert response.content == content[1000:2_000_000]
    assert client.get("/calls").json() == [0, 0]


def test_django_reads_by_itself(client: httpx.Client, content: bytes) -> None:
    response = client.get("/django/file")
    assert response.content == content
    assert client.get("/calls").json() == [0, 0]


def by(name: str) -> str:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@once
@pytest.mark.parametrize("name", ["litestar", "quart"])
def test_frameworks_that_know_no_extension(client: httpx.Client, content: bytes, name: str) -> None:
    response = client.get(f"/{by(name)}/download.bin")
    assert response.content == content
    assert response.headers["content-length"] == str(SIZE)
    assert client.get("/calls").json() == [0, 0]


@once
def test_a_range_is_read_by_quart(client: httpx.Client, content: bytes) -> None:
    response = client.get(f"/{by('quart')}/download.bin", headers={"range": "bytes=1000-1999999"})
    assert (response.status_code, response.content == content[1000:2_000_000]) == (206, True)
    assert client.get("/calls").json() == [0, 0]


def memory(pid: int, name: str) -> int:
    """A number of KiB of `/proc/PID/status`."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@counts_references
@once
@pytest.mark.parametrize("path", ["static", "litestar", "quart"])
def test_memory_stays_flat(server: Gunicorn, client: httpx.Client, path: str) -> None:
    """The client is slower than the disk, and what it does not take is not read."""
    if path != "static":
        by(path)
    client.get(f"/{path}/download.bin")
    (pid,) = server.workers()
    before = memory(pid, "VmRSS")
    with server.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request(f"/{path}/large.bin")
        assert connection.head().headers["content-length"] == str(LARGE)
        connection.skip(LARGE)
    assert memory(pid, "VmHWM") - before < MOST


def test_head_sends_nothing(client: httpx.Client) -> None:
    assert client.head("/static/download.bin").headers["content-length"] == str(SIZE)
    assert client.get("/calls").json() == [0, 0]


def test_the_access_log_has_the_size(server: Gunicorn, client: httpx.Client) -> None:
    client.get("/file")
    until(lambda: f"GET /file HTTP/1.1 200 {SIZE}" in server.read("access.log") or None, "the access line")


@pytest.fixture(scope="module")
def wsgi(folder: Path) -> Iterator[Gunicorn]:
    with Gunicorn("wsgi_files_app:app", worker=H2C, env={"E2E_DIR": str(folder), **WSGI}) as server:
        yield server


class TestWsgi:
    """wsgi.file_wrapper, as Django and Flask use it."""

    @pytest.mark.parametrize("path", ["/django", "/flask"])
    def test_the_kernel_sends(self, wsgi: Gunicorn, content: bytes, path: str) -> None:
        with wsgi.client() as client:
            client.get("/calls")
            response = client.get(path)
            assert (response.content == content, response.headers["content-length"]) == (True, str(SIZE))
            assert client.head(path).headers["content-length"] == str(SIZE)
            count, size = client.get("/calls").json()
        assert size == SIZE
        assert count <= SIZE // 10_000

    def test_a_range_is_read_by_flask(self, wsgi: Gunicorn, content: bytes) -> None:
        with wsgi.client() as client:
            client.get("/calls")
            response = client.get("/flask", headers={"range": "bytes=1000-1999999"})
            assert (response.status_code, response.content == content[1000:2_000_000]) == (206, True)
            assert client.get("/calls").json() == [0, 0]

    def test_over_http2_it_is_read(self, wsgi: Gunicorn, content: bytes) -> None:
        with httpx.Client(http1=False, http2=True, base_url=wsgi.url, timeout=PATIENCE, trust_env=False) as client:
            client.get("/calls")
            for path in ("/django", "/flask"):
                response = client.get(path)
                assert (response.http_version, response.content == content) == ("HTTP/2", True)
            assert client.get("/calls").json() == [0, 0]

    def test_over_tls_it_is_read(self, tmp_path: Path, folder: Path, content: bytes) -> None:
        site = Site(tmp_path)
        tls = ("--certfile", str(site.cert), "--keyfile", str(site.key))
        with Gunicorn("wsgi_files_app:app", *tls, worker=HTTPTOOLS, env={"E2E_DIR": str(folder), **WSGI}) as server:
            url = f"https://localhost:{server.port}"
            with httpx.Client(base_url=url, verify=client_context(), timeout=PATIENCE, trust_env=False) as client:
                for path in ("/django", "/flask"):
                    assert client.get(path).content == content
                assert client.get("/calls").json() == [0, 0]
