"""nginx and HAProxy in front agree with us where each message ends.

The rows of the corpus of HTTP/1.1 go through them. A front gives each message an id of its own, and logs the body that
it has read; connections to us are used again. What it passes on is what the application sees, message by message and
byte by byte: one that we made of another's body would come without an id, and one that we took for part of another's
would be missing. What a front refuses does not concern us, and what we refuse of it ends the connection.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.conformance.http1.test_corpus import ROWS, TRUNCATED
from tests.e2e.frontends import haproxy, nginx
from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

NGINX = """
log_format ledger escape=json '{{"id": "$request_id", "status": "$status", "body": "$request_body"}}';
upstream app {{ server unix:{dir}/app.sock; keepalive 1; }}
server {{
    listen unix:{dir}/front.sock;
    access_log {dir}/ledger ledger;
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header X-Front-Id $request_id;
    }}
}}
"""

HAPROXY = """
global
    log stdout format raw local0 info
defaults
    mode http
    log global
    timeout connect 20s
    timeout client 20s
    timeout http-request 20s
    timeout server 20s
    option http-buffer-request
    http-reuse always
    unique-id-format %[uuid()]
    log-format '{{"id": "%ID", "status": "%ST", "body": "%[var(txn.body)]"}}'
listen front
    bind unix@{dir}/front.sock
    http-request set-var(txn.body) req.body,hex
    http-request set-header X-Front-Id %[unique-id]
    server app unix@{dir}/app.sock
"""

LAST = b"GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(worker: str) -> Iterator[Gunicorn]:
    with Gunicorn("ledger:app", "--keep-alive", "60", worker=worker, bind="unix:app.sock") as server:
        server.wait_log("Ready in")
        yield server


def send_rows(server: Gunicorn) -> None:
    """Each row on a connection of its own, with a message behind it; those that end too soon end the connection."""
    front = str(server.dir / "front.sock")
    for raw, _, _ in ROWS:
        with Connection(front, PATIENCE) as connection:
            connection.send(raw + LAST)
            connection.rest()
    for raw, _ in TRUNCATED:
        with Connection(front, PATIENCE) as connection:
            connection.send(raw)
            connection.socket.shutdown(socket.SHUT_WR)
            connection.rest()


def seen_behind(server: Gunicorn, front_log: str) -> list[tuple[str, bytes]]:
    """The messages that the application has seen: id and body. The front has logged them all by then."""
    send_rows(server)
    with Connection(str(server.dir / "app.sock"), PATIENCE) as connection:
        seen = [(message, bytes.fromhex(body)) for message, body in json.loads(connection.get("/seen").body)]
    # There was something to disagree about.
    assert {b"12345", b"hello", b"\n\r\n", b"0123456789"} <= {body for _, body in seen}
    assert all(re.fullmatch(r"[0-9a-f-]{32,36}", message) for message, _ in seen)
    until(lambda: all(message in server.read(front_log) for message, _ in seen), "the front's log")
    return seen


def test_nginx(server: Gunicorn) -> None:
    with nginx(server.dir, NGINX):
        seen = seen_behind(server, "ledger")
    lines = [json.loads(line) for line in server.read("ledger").splitlines()]
    answered = [(line["id"], line["body"].encode()) for line in lines if line["status"] == "200"]
    assert sorted(answered) == sorted(seen)


def test_haproxy(server: Gunicorn) -> None:
    with haproxy(server.dir, HAPROXY):
        seen = seen_behind(server, "haproxy.log")
    lines = [json.loads(line) for line in re.findall(r"^{.*}$", server.read("haproxy.log"), re.MULTILINE)]
    answered = [(line["id"], bytes.fromhex(line["body"].strip("-"))) for line in lines if line["status"] == "200"]
    assert sorted(answered) == sorted(seen)
