"""A Django project behind each worker class, asked by httpx."""

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
    with Gunicorn("django_app:application", worker=worker) as server:
        yield server


@pytest.fixture
def client(server: Gunicorn) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_starts_without_noise_although_django_has_no_lifespan(server: Gunicorn, client: httpx.Client) -> None:
    assert client.get("/sync").status_code == 200
    assert "lifespan" not in server.log.lower()
    assert "Traceback" not in server.log.partition("the view went wrong")[0]


def test_sync_view(client: httpx.Client) -> None:
    assert client.get("/sync", params={"q": "x y"}).json() == {"main_thread": False, "q": "x y"}


def test_async_view(client: httpx.Client) -> None:
    assert client.get("/async/12").json() == {"main_thread": True, "number": 12, "path": "/async/12"}


def test_streaming_response(client: httpx.Client) -> None:
    response = client.get("/stream", params={"parts": 300})
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.content == b"".join(b"part %d\n" % number for number in range(300))


def test_file_upload(client: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    response = client.post("/upload", files={"file": ("photo.jpg", data)}, data={"field": "value"})
    assert response.json() == {
        "name": "photo.jpg",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "field": "value",
    }


def test_meta(server: Gunicorn, client: httpx.Client) -> None:
    seen = client.get("/meta?a=b%20c", headers={"x-test": "1", "content-type": "text/x"}).json()
    assert seen == {
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "HTTP_X_TEST": "1",
        "QUERY_STRING": "a=b%20c",
        "CONTENT_TYPE": "text/x",
    }


def test_unknown_path(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404


def test_failing_view_is_a_500_and_the_server_goes_on(client: httpx.Client) -> None:
    assert client.get("/fail").status_code == 500
    assert client.get("/sync").status_code == 200
