"""HAProxy with `proto h2` before a worker, and a browser that speaks HTTP/2 by ALPN."""

from __future__ import annotations

import json
import os

import httpx
import pytest

from tests.e2e.frontends import haproxy
from tests.e2e.harness import PATIENCE, Gunicorn
from tests.e2e.websocket.browser import find_chromium, open_page

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
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
