"""A FastAPI app behind each worker class, asked by httpx."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("fastapi_app:app", worker=worker) as server:
        yield server


@pytest.fixture
def client(server: Gunicorn) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_path_and_query_parameters(client: httpx.Client) -> None:
    response = client.get("/items/7", params={"q": "tea & milk ü"})
    assert response.status_code == 200
    assert response.json() == {"number": 7, "q": "tea & milk ü"}
    assert response.headers["content-type"] == "application/json"
    assert "date" in response.headers


def test_invalid_parameter_is_the_frameworks_422(client: httpx.Client) -> None:
    assert client.get("/items/seven").status_code == 422


def test_json_body(client: httpx.Client) -> None:
    response = client.post("/items", json={"name": "tea", "price": 1.5, "tags": ["hot"]})
    assert response.status_code == 201
    assert response.json() == {"total": 3.0, "name": "tea", "price": 1.5, "tags": ["hot"]}


def test_sync_view_runs_in_a_thread_and_async_view_on_the_loop(client: httpx.Client) -> None:
    assert client.get("/sync").json() == {"main_thread": False}
    assert client.get("/async").json() == {"main_thread": True}


def test_http_exception(client: httpx.Client) -> None:
    response = client.get("/missing")
    assert (response.status_code, response.json()) == (404, {"detail": "no such thing"})


def test_failing_view_is_a_500_with_one_traceback_and_the_server_goes_on(
    server: Gunicorn, client: httpx.Client
) -> None:
    before = server.log.count("RuntimeError: the view went wrong")
    assert client.get("/fail").status_code == 500
    server.wait_log("RuntimeError: the view went wrong")
    assert client.get("/async").status_code == 200
    assert server.log.count("RuntimeError: the view went wrong") == before + 1


def test_lifespan_state_reaches_requests_as_a_copy(client: httpx.Client) -> None:
    answers = [client.get("/state").json() for _ in range(2)]
    assert answers == [{"greeting": "from the lifespan", "visits": 1}] * 2


@pytest.mark.parametrize("parts", [0, 1, 1000])
def test_streaming_response(client: httpx.Client, parts: int) -> None:
    with client.stream("GET", "/stream", params={"parts": parts}) as response:
        # an empty body may as well be announced by its length
        assert (response.headers.get("transfer-encoding") == "chunked") or parts == 0
        body = b"".join(response.iter_raw())
    assert body == b"".join(b"part %d\n" % number for number in range(parts))


def test_streamed_parts_arrive_as_they_are_made(client: httpx.Client) -> None:
    with client.stream("GET", "/gated") as response:
        parts = response.iter_raw()
        assert next(parts) == b"first"  # while the app waits for the next request
        assert client.post("/open").status_code == 204
        assert b"".join(parts) == b"second"


def test_upload_of_several_megabytes(client: httpx.Client) -> None:
    data = os.urandom(4_000_000)
    expected = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert client.post("/upload", content=data).json() == expected
    chunks = (data[start : start + 100_000] for start in range(0, len(data), 100_000))
    assert client.post("/upload", content=chunks).json() == expected  # chunked, its length unknown


def test_background_task_runs_after_the_response(server: Gunicorn, client: httpx.Client) -> None:
    before = len(server.events("background"))
    response = client.post("/background/mail")
    assert (response.status_code, response.json()) == (202, {"accepted": "mail"})
    assert server.wait_events("background", before + 1)[-1].detail == "mail"


def test_many_clients_at_once(client: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: client.get(f"/items/{number}").json()["number"], range(200)))
    assert answers == list(range(200))
