"""The WebSocket cases of HTTP/1.1 over HTTP/2 (RFC 8441), with HAProxy's `proto h2` between client and worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.frontends import haproxy
from tests.e2e.harness import Gunicorn
from tests.e2e.http2.conftest import H2C
from tests.e2e.websocket.client import PYTHONPATH

# Collected here with the server of this module.
from tests.e2e.websocket.test_messages import (  # noqa: F401
    TestEcho,
    test_a_denial,
    test_a_message_above_16_mib,
    test_pings_of_the_client,
    test_subprotocol_and_headers,
    test_the_application_closes,
    test_the_application_fails,
    test_the_application_returns,
    test_the_client_closes,
    test_the_client_leaves_without_a_word,
)

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 30s
frontend front
    bind fd@{fd}
    default_backend app
backend app
    http-reuse always
    server worker 127.0.0.1:{port} proto h2
"""


class Fronted(Gunicorn):
    """Clients of it go through a proxy."""

    front = 0

    @property
    def port(self) -> int:
        return self.front or super().port


@pytest.fixture(scope="module")
def server(engine: dict[str, str]) -> Iterator[Gunicorn]:
    server = Fronted("socket_probe:app", *PYTHONPATH, worker=H2C, env=engine)
    with server:
        listener = socket.create_server(("127.0.0.1", 0))
        port, front = server.port, listener.getsockname()[1]
        with haproxy(server.dir, HAPROXY, listener, port=port):
            server.front = front
            yield server
