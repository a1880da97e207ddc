"""HAProxy with `proto h2` before a worker, and a browser that speaks HTTP/2 by ALPN."""

from __future__ import annotations

import json
import os
import socket
import ssl

import httpx
import pytest
from websockets.sync.client import unix_connect

from tests.certificates import client_context
from tests.e2e.frontends import haproxy
from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.websocket.browser import find_chromium, open_page
from tests.http2.wire import Client
from uvicorn_worker.http2.engine.codes import ErrorCode, FrameType

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    # Without it a check must be answered within its interval.
    timeout check 20s
frontend front
    bind unix@{dir}/front.sock
    default_backend app
backend app
    http-reuse always
    option httpchk
    http-check connect proto h2
    http-check send meth GET uri / ver HTTP/2 hdr host localhost
    server worker 127.0.0.1:{port} proto h2 check inter 200ms
"""


def test_behind_haproxy(server: Gunicorn) -> None:
    data = os.urandom(2_000_000)
    with (
        haproxy(server.dir, HAPROXY, port=server.port),
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(server.dir / "front.sock")),
            base_url="http://localhost",
            timeout=PATIENCE,
            trust_env=False,
        ) as client,
    ):
        for _ in range(3):
            assert client.get("/").text == "Hello, world!"
        assert client.post("/echo", content=data).text.startswith("2000000 ")
        assert len(client.get("/download?30").content) == 30 * 65536
        assert client.head("/").headers["content-length"] == "13"
        assert client.get("/fail").status_code == 500
        assert client.get("/stream?n=3").text == "part 0\npart 1\npart 2\n"
    assert '"GET / HTTP/2" 200' in server.out


@pytest.mark.parametrize("size", [0, pytest.param(64, marks=pytest.mark.long)])
def test_websocket_behind_haproxy(server: Gunicorn, size: int) -> None:
    """An extended CONNECT, to which HAProxy adds a key; and more small messages than a flood has frames."""
    front = str(server.dir / "front.sock")
    with haproxy(server.dir, HAPROXY, port=server.port), unix_connect(front, "ws://localhost/", proxy=None) as opened:
        for _ in range(3000):
            opened.send("x" * size)
            assert opened.recv(PATIENCE) == "2 " + "x" * size


def test_a_cipher_that_http2_does_not_allow(tls_server: Gunicorn) -> None:
    """RFC 9113, 9.2.2: TLS 1.2 with CBC is told so; HTTP/1.1 is served."""
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE+AES+SHA")
    context.set_alpn_protocols(["h2"])
    client = Client()
    address = ("127.0.0.1", tls_server.port)
    with socket.create_connection(address, PATIENCE) as plain:
        try:
            connection = context.wrap_socket(plain, server_hostname="localhost")
        except ssl.SSLError:
            pytest.skip("this OpenSSL has no such cipher")
        with connection:
            connection.sendall(client.preface() + client.request())
            while data := connection.recv(65536):
                client.receive(data)
    (goaway,) = client.of(FrameType.GOAWAY)
    assert goaway.code == ErrorCode.INADEQUATE_SECURITY
    assert 1 not in client.streams


@pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
def test_a_browser(tls_server: Gunicorn) -> None:
    """A page, requests beside each other, an upload, and a WebSocket on the same connection (RFC 8441)."""
    url = f"https://localhost:{tls_server.port}"
    with open_page("--ignore-certificate-errors") as page:
        page.go(url + "/page")
        page.wait("document.readyState === 'complete'")
        page.run(
            """
            const all = Array.from({length: 20}, (_, at) => fetch('/stream?n=2&at=' + at).then(r => r.text()));
            const up = fetch('/echo', {method: 'POST', body: new Uint8Array(300000)}).then(r => r.text());
            Promise.all([...all, up]).then(texts => { window.texts = texts; });
            const socket = new WebSocket(location.href.replace('https', 'wss'));
            socket.onopen = () => socket.send('hello');
            socket.onmessage = message => { window.heard = message.data; };
            """
        )
        page.wait("window.texts && window.heard")
        texts = page.run("window.texts")
        assert texts[:-1] == ["part 0\npart 1\n"] * 20
        assert texts[-1].startswith("300000 ")
        assert page.run("window.heard") == "2 hello"
        spoken = json.loads(
            page.run(
                "JSON.stringify([...performance.getEntriesByType('navigation'),"
                " ...performance.getEntriesByType('resource')].map(entry => entry.nextHopProtocol))"
            )
        )
        assert set(spoken) == {"h2"}
