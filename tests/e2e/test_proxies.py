"""nginx and HAProxy before Gunicorn: the application sees who the client is, and how it has come."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from typing import TYPE_CHECKING, Any

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from tests.e2e.frontends import haproxy, nginx
from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Gunicorn]

NGINX = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
upstream app {{ server unix:{dir}/app.sock; keepalive 4; }}
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {dir}/both.pem;
    ssl_certificate_key {dir}/both.pem;
    location /shop/ {{
        proxy_pass http://app/;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Forwarded-Prefix /shop;
    }}
}}
"""

HANDBOOK = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:BACKEND;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }}
}}
"""

HAPROXY = """
global
    maxconn 100
defaults
    timeout connect 20s
    timeout client 20s
    timeout server 20s
listen front
    mode MODE
    bind fd@{fd} BIND
    server app BACKEND SERVER
"""


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def unverified() -> ssl.SSLContext:
    # The certificate is self-signed, and these tests are not about it.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Visitor:
    """A client of a proxy, and what the application saw of it."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        self.port = port
        self.tls = tls

    def connect(self) -> Connection:
        connection = Connection(("127.0.0.1", self.port), PATIENCE)
        if self.tls:
            connection.socket = unverified().wrap_socket(connection.socket, server_hostname="localhost")
        return connection

    def http(self, target: str = "/", *fields: str) -> tuple[int, Any]:
        """Two requests on one connection: the port that they came from, and what was seen of the second."""
        with self.connect() as connection:
            assert connection.get(target, *fields).status == 200
            response = connection.get(target, *fields)
            assert response.status == 200, response
            return connection.local_port, json.loads(response.body)

    def websocket(self, target: str = "/", **headers: str) -> tuple[int, Any]:
        """The same over a WebSocket.

        The library's client for threads reads and writes TLS at the same time, and hangs now and then; its client for
        asyncio leaves TLS transports behind in Python 3.10. So only its core is used.
        """
        client = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self.port}{target}"))
        request = client.connect()
        request.headers.update(headers)
        client.send_request(request)
        with self.connect() as connection:
            while True:
                connection.send(b"".join(client.data_to_send()))
                for event in client.events_received():
                    if isinstance(event, Frame):
                        return connection.local_port, json.loads(bytes(event.data))
                data = connection.socket.recv(65536)
                assert data, client.handshake_exc
                client.receive_data(data)


def test_nginx_with_tls_before_a_unix_socket(serve: Serve, worker: str, certificate: Path) -> None:
    # Over the unix socket nginx is trusted; its own clients, which are on this host too, are not.
    options = ["--forwarded-allow-ips", "192.0.2.1", "--env", "UVICORN_FORWARDED_HEADERS=for,proto,host,port,prefix"]
    server = serve("origin:app", *options, worker=worker, bind="unix:app.sock")
    shutil.copy(certificate, server.dir)
    with listener() as sock:
        visitor = Visitor(sock.getsockname()[1], tls=True)
        with nginx(server.dir, NGINX, sock):
            answers = [
                visitor.http("/shop/a", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: http"),
                visitor.websocket("/shop/a", **{"X-Forwarded-For": "1.2.3.4"}),
            ]
    for (_, seen), scheme in zip(answers, ("https", "wss"), strict=True):
        assert seen["scheme"] == scheme
        assert seen["client"] == ["127.0.0.1", 0]
        assert seen["server"] == [seen["headers"]["host"].split(":")[0], visitor.port]
        assert (seen["root_path"], seen["path"]) == ("/shop", "/shop/a")
        assert seen["headers"]["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
    assert "[WARNING]" not in server.log


def test_nginx_as_in_the_handbook_of_uvicorn(serve: Serve, worker: str) -> None:
    """It says nothing of versions, so that nginx before 1.29.7 passes on a handshake of HTTP/1.0."""
    server = serve("origin:app", worker=worker)
    with listener() as sock:
        visitor = Visitor(sock.getsockname()[1])
        with nginx(server.dir, HANDBOOK.replace("BACKEND", str(server.port)), sock):
            _, seen = visitor.http("/a")
            assert (seen["scheme"], seen["path"]) == ("http", "/a")
            _, seen = visitor.websocket("/a")
            assert (seen["scheme"], seen["path"]) == ("ws", "/a")


def through_haproxy(
    server: Gunicorn,
    sock: socket.socket,
    visitor: Visitor,
    *,
    mode: str = "http",
    bind: str = "",
    to: str,
    options: str,
) -> None:
    """What is seen behind HAProxy is the visitor's own address, and where it has connected to."""
    parts = {"MODE": mode, "BIND": bind, "BACKEND": to, "SERVER": options}
    config = HAPROXY
    for name, value in parts.items():
        config = config.replace(name, value)
    with haproxy(server.dir, config, sock):
        for scheme, (port, seen) in (("http", visitor.http()), ("ws", visitor.websocket())):
            assert seen["scheme"] == scheme + ("s" if visitor.tls else "")
            assert seen["client"] == ["127.0.0.1", port]
            assert seen["server"] == ["127.0.0.1", visitor.port]
    # The log is the visitor's too.
    assert f"127.0.0.1:{visitor.port}" not in server.log
    assert "[ERROR]" not in server.log


def test_haproxy_with_send_proxy(serve: Serve, worker: str) -> None:
    # As an option at the end it would take the application's name for its value.
    server = serve("origin:app", "--proxy-protocol", "--keep-alive", "5", worker=worker)
    with listener() as sock:
        visitor = Visitor(sock.getsockname()[1])
        through_haproxy(server, sock, visitor, to=f"127.0.0.1:{server.port}", options="send-proxy")
    with server.connect() as connection:
        # Nobody gets in without a header.
        connection.request()
        assert connection.rest() == b""
    server.wait_log("does not begin with a header of the PROXY protocol")


def test_haproxy_that_passes_tls_through(serve: Serve, worker: str, certificate: Path) -> None:
    tls = ["--certfile", str(certificate), "--keyfile", str(certificate)]
    server = serve("origin:app", "--proxy-protocol", *tls, worker=worker)
    with listener() as sock:
        visitor = Visitor(sock.getsockname()[1], tls=True)
        options = "send-proxy-v2 proxy-v2-options crc32c"
        through_haproxy(server, sock, visitor, mode="tcp", to=f"127.0.0.1:{server.port}", options=options)


def test_haproxy_that_ends_tls_before_a_unix_socket(serve: Serve, worker: str, certificate: Path) -> None:
    server = serve("origin:app", "--proxy-protocol", "--keep-alive", "5", worker=worker, bind="unix:app.sock")
    with listener() as sock:
        visitor = Visitor(sock.getsockname()[1], tls=True)
        to, bind = "unix@{dir}/app.sock", f"ssl crt {certificate}"
        through_haproxy(server, sock, visitor, mode="tcp", bind=bind, to=to, options="send-proxy-v2-ssl")
