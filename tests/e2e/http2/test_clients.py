"""curl, nghttp, h2load and httpx against a real worker: prior knowledge, `Upgrade: h2c`, ALPN."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import httpx
import pytest

from tests.certificates import Site, client_context
from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.http2.conftest import run
from tests.memory import counts_references
from tests.programs import need


def curl(*arguments: str) -> str:
    done = run(need("curl"), "--silent", "--show-error", *arguments, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "data"
    path.write_bytes(os.urandom(3_000_000))
    return path


def digest(path: Path) -> str:
    data = path.read_bytes()
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


KNOWING = "--http2-prior-knowledge"


def test_prior_knowledge(server: Gunicorn) -> None:
    assert curl(KNOWING, "--write-out", " %{http_version}", server.url) == "Hello, world! 2"


def test_http1_beside_it(server: Gunicorn) -> None:
    assert curl("--http1.1", "--write-out", " %{http_version}", server.url) == "Hello, world! 1.1"


@pytest.mark.parametrize("arguments", [(), ("--data", "a=b")], ids=["get", "post"])
def test_upgrade(server: Gunicorn, arguments: tuple[str, ...]) -> None:
    said = curl("--http2", "--include", "--write-out", "%{http_version}", *arguments, server.url + "/echo")
    assert said.startswith("HTTP/1.1 101 Switching Protocols")
    assert "HTTP/2 200" in said
    assert said.endswith("2")


def test_upload_and_download(server: Gunicorn, upload: Path) -> None:
    assert curl(KNOWING, "--data-binary", f"@{upload}", server.url + "/echo") == digest(upload)
    assert curl(KNOWING, "--output", os.devnull, "--write-out", "%{size_download}", server.url + "/download?50") == (
        str(50 * 65536)
    )


def test_head_and_hints(server: Gunicorn) -> None:
    head = curl(KNOWING, "--head", server.url)
    assert "content-length: 13" in head
    said = curl(KNOWING, "--include", server.url + "/hinted")
    assert said.index("HTTP/2 103") < said.index("HTTP/2 200")
    assert "link: </style.css>" in said


def test_several_requests_on_one_connection(server: Gunicorn) -> None:
    urls = [server.url, server.url + "/stream?n=1", server.url + "/fail", server.url]
    # With prior knowledge, curl 7.88 fails on every connection that it uses again.
    said = curl("--http2", "--write-out", " %{http_code} %{num_connects}\n", *urls)
    assert re.findall(r" (\d{3} \d)\n", said) == ["200 1", "200 0", "500 0", "200 0"]


def test_the_access_log(server: Gunicorn) -> None:
    curl(KNOWING, server.url + "/logged?x=y")
    until(lambda: '"GET /logged?x=y HTTP/2" 200 13 ' in server.out, "the access line")


def test_nghttp(server: Gunicorn, upload: Path) -> None:
    nghttp = need("nghttp")
    for more in ((), ("--upgrade",)):
        done = run(nghttp, "--verbose", "--null-out", *more, server.url, server.url + "/stream?n=3")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(":status: 200") == 2
    done = run(nghttp, "--data", str(upload), server.url + "/echo")
    assert done.stdout == digest(upload)


def test_h2load(server: Gunicorn) -> None:
    done = run(need("h2load"), "-n", "2000", "-c", "8", "-m", "16", server.url)
    assert "2000 done, 2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


def test_httpx(server: Gunicorn, upload: Path) -> None:
    pytest.importorskip("h2")
    with httpx.Client(http1=False, http2=True, base_url=server.url, trust_env=False, timeout=PATIENCE) as client:
        response = client.get("/")
        assert (response.http_version, response.text) == ("HTTP/2", "Hello, world!")
        assert client.post("/echo", content=upload.read_bytes()).text == digest(upload)
        assert len(client.get("/download?30").content) == 30 * 65536
        # As much as fits into its window for the connection, of which it gives nothing back for what is not read.
        with client.stream("GET", "/download?100") as response:
            next(response.iter_raw())
        assert client.get("/").text == "Hello, world!"


@counts_references
def test_a_large_upload_takes_little_memory(server: Gunicorn, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(60_000_000)
    size, grown = curl(KNOWING, "--data-binary", f"@{path}", server.url + "/peak").split()
    assert int(size) == 60_000_000
    assert int(grown) < 10_000


class TestTLS:
    @pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
    def test_curl(self, tls_server: Gunicorn, site: Site, option: str, version: str) -> None:
        url = f"https://localhost:{tls_server.port}/"
        said = curl(option, "--cacert", str(site.ca), "--write-out", " %{http_version}", url)
        assert said == f"Hello, world! {version}"

    def test_httpx(self, tls_server: Gunicorn, upload: Path) -> None:
        url = f"https://localhost:{tls_server.port}"
        with httpx.Client(
            http2=True, base_url=url, trust_env=False, verify=client_context(), timeout=PATIENCE
        ) as client:
            response = client.get("/")
            assert response.http_version == "HTTP/2"
            assert client.post("/echo", content=upload.read_bytes()).text == digest(upload)
            assert len(client.get("/download?30").content) == 30 * 65536

    def test_h2load(self, tls_server: Gunicorn) -> None:
        done = run(need("h2load"), "-n", "500", "-c", "4", "-m", "10", f"https://localhost:{tls_server.port}/")
        assert "500 done, 500 succeeded, 0 failed" in done.stdout, done.stdout
        assert "Application protocol: h2" in done.stdout
