"""curl as the client: what a user tries first."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Curl = Callable[..., subprocess.CompletedProcess[str]]

SIZE = 5_000_000


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("probe:app", worker=worker) as server:
        yield server


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curl") / "upload.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    return f"{SIZE} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_get(server: Gunicorn, curl: Curl) -> None:
    done = curl("--include", server.url)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    status, *fields = head.splitlines()
    names = [field.partition(":")[0].lower() for field in fields]
    assert status.strip() == "HTTP/1.1 200 OK"
    assert {"content-length", "content-type", "date", "server"} <= set(names)
    assert len(set(names)) == len(names)
    assert body == "Hello, world!"


def test_head(server: Gunicorn, curl: Curl) -> None:
    done = curl("--head", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert "content-length: 13" in done.stdout.lower()
    assert "Hello" not in done.stdout


def test_post_after_100_continue(server: Gunicorn, curl: Curl, upload: Path) -> None:
    done = curl("-v", "-H", "Expect: 100-continue", "--data-binary", f"@{upload}", server.url + "/echo")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("HTTP/1.1 100 Continue") == 1
    assert done.stdout == digest(upload)


def test_post_without_expectation(server: Gunicorn, curl: Curl, upload: Path) -> None:
    done = curl("-v", "-H", "Expect:", "--data-binary", f"@{upload}", server.url + "/echo")
    assert done.returncode == 0, done.stderr
    assert "100 Continue" not in done.stderr
    assert done.stdout == digest(upload)


def test_chunked_upload(server: Gunicorn, curl: Curl, upload: Path) -> None:
    chunked = ("-H", "Transfer-Encoding: chunked")
    done = curl(*chunked, "--data-binary", f"@{upload}", server.url + "/echo")
    assert done.returncode == 0, done.stderr
    assert done.stdout == digest(upload)


def test_chunked_response(server: Gunicorn, curl: Curl) -> None:
    done = curl("--include", server.url + "/stream?n=3")
    assert done.returncode == 0, done.stderr
    assert "transfer-encoding: chunked" in done.stdout.lower()
    assert done.stdout.endswith("part 0\npart 1\npart 2\n")


def test_http_1_0_streams_until_the_connection_closes(server: Gunicorn, curl: Curl) -> None:
    done = curl("--http1.0", "--include", server.url + "/stream?n=3")
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    assert "transfer-encoding" not in head.lower()
    assert body == "part 0\npart 1\npart 2\n"


def test_http_1_0_closes_after_each_response(server: Gunicorn, curl: Curl) -> None:
    done = curl("--http1.0", "--write-out", " %{num_connects}\n", server.url, server.url)
    assert done.stdout.splitlines() == ["Hello, world! 1", "Hello, world! 1"], done.stderr


def test_one_connection_for_several_requests(server: Gunicorn, curl: Curl) -> None:
    urls = [server.url, server.url + "/stream?n=1", server.url]
    done = curl("--write-out", " %{num_connects}\n", *urls)
    assert done.stdout.splitlines() == ["Hello, world! 1", "part 0", " 0", "Hello, world! 0"], done.stderr


def test_failing_view(server: Gunicorn, curl: Curl) -> None:
    done = curl("--write-out", "%{http_code}", "--output", os.devnull, server.url + "/fail")
    assert (done.returncode, done.stdout) == (0, "500")


def test_unix_socket_made_with_the_umask(worker: str, curl: Curl) -> None:
    with Gunicorn("probe:app", "--umask", "007", worker=worker, bind="unix:app.sock") as server:
        path = server.dir / "app.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o770
        done = curl("--unix-socket", str(path), "http://name.test/report")
        assert done.returncode == 0, done.stderr
        assert '"loop"' in done.stdout
