"""New Relic's agent, which looks for servers by their names, sees the requests of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn

Serve = Callable[..., Gunicorn]

DEVELOPER_MODE = {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_APP_NAME": "tests", "NEW_RELIC_CONFIG_FILE": ""}


# What is wrapped by hand is taken for WSGI by the agent's hook on Gunicorn.
@pytest.mark.parametrize(("app", "worker"), [("function", HTTPTOOLS), ("wrapped", H11)])
def test_each_request_is_a_transaction(serve: Serve, app: str, worker: str) -> None:
    pytest.importorskip("newrelic")
    server = serve(f"agents_app:{app}", worker=worker, env=DEVELOPER_MODE)
    server.wait_log("Ready in")
    with server.client() as client:
        for _ in range(2):
            assert client.get("/shop").text == "WebTransaction WebTransaction/Uri/shop"
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log
