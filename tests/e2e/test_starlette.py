"""A Starlette app behind each worker class, asked by httpx."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("starlette_app:app", worker=worker) as server:
        yield server


@pytest.fixture
def client(server: Gunicorn) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_get_through_middleware_with_lifespan_state(client: httpx.Client) -> None:
    response = client.get("/")
    assert (response.status_code, response.text) == (200, "GET / green")
    assert response.headers["x-middleware"] == "seen"


def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client) -> None:
    response = client.head("/sync")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len("from a thread"))
    assert client.get("/sync").text == "from a thread"


def test_scope_shows_the_decoded_and_the_raw_path(client: httpx.Client) -> None:
    seen = client.get("/inspect/caf%C3%A9%2Fbar", params={"a": "1 2"}, headers={"user-agent": "tester"}).json()
    assert seen["path"] == "/inspect/café/bar"
    assert seen["raw_path"] == "/inspect/caf%C3%A9%2Fbar"
    assert seen["query"] == {"a": "1 2"}
    assert (seen["scheme"], seen["http_version"], seen["root_path"]) == ("http", "1.1", "")
    assert seen["agent"] == "tester"


def test_redirect_with_two_cookies_that_come_back(client: httpx.Client) -> None:
    response = client.get("/cookies")
    assert (response.status_code, response.headers["location"]) == (303, "/inspect")
    assert len(response.headers.get_list("set-cookie")) == 2
    assert client.get("/inspect").json()["cookies"] == {"one": "1", "two": "2"}


def test_no_content_leaves_the_connection_usable(client: httpx.Client) -> None:
    response = client.get("/empty")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers
    assert "transfer-encoding" not in response.headers
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/stream", "/stream-from-thread"])
def test_streaming_response(client: httpx.Client, path: str) -> None:
    response = client.get(path, params={"parts": 300})
    assert response.content == b"".join(b"part %d\n" % number for number in range(300))


def test_file_response_whole_and_in_part(server: Gunicorn, client: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    (server.dir / "download.bin").write_bytes(data)
    response = client.get("/file")
    assert response.headers["content-length"] == str(len(data))
    assert response.content == data
    part = client.get("/file", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_upload_and_background_task(server: Gunicorn, client: httpx.Client, method: str) -> None:
    data = os.urandom(2_000_000)
    before = len(server.events("background"))
    response = client.request(method, "/upload", content=data)
    assert response.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert server.wait_events("background", before + 1)[-1].detail == str(len(data))


def test_unknown_path_and_method(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.delete("/upload").status_code == 405
