"""What the atoms say of requests that an application has answered over HTTP/1.1."""

from __future__ import annotations

import pytest

from tests.http1.apps import body, hello, respond, start
from tests.scripted import get
from tests.worker.cycles import cycle_of
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.logs.atoms import Atoms


def test_the_bytes_are_those_of_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(start(), body(b"one", more=True), body(b"three"))(scope, receive, send)

    atoms = Atoms(cycle_of(get(), app))
    assert (atoms["b"], atoms["B"]) == ("8", 8)


def test_a_body_that_is_not_sent_does_not_count() -> None:
    assert Atoms(cycle_of(get(method="HEAD"), hello))["B"] == 0


def test_the_status_is_the_responses() -> None:
    assert Atoms(cycle_of(get(), respond(start(404), body(b"none"))))["s"] == "404"
    assert Atoms(cycle_of(get(), respond()))["s"] == "500"


@pytest.mark.parametrize("root_path", ["/api", "/users", "/longer/than/the/path"])
def test_a_root_path_that_the_application_sets_changes_nothing(root_path: str) -> None:
    # FastAPI(root_path=...) and Starlette's Mount write into the scope that they were called with.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] = root_path
        await hello(scope, receive, send)

    atoms = Atoms(cycle_of(get("/users/1?x"), app))
    assert atoms["r"] == "GET /users/1?x HTTP/1.1"
    assert atoms["U"] == "/users/1"


def test_a_path_that_the_application_sets_changes_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path"] = "/rest"
        await hello(scope, receive, send)

    assert Atoms(cycle_of(get("/mounted/rest"), app))["r"] == "GET /mounted/rest HTTP/1.1"


def test_a_response_that_was_cut_is_logged_with_what_was_sent() -> None:
    app = respond(start(), body(b"12345", more=True))
    assert Atoms(cycle_of(get(), app))["b"] == "5"
