"""Each configuration of a front that the documentation shows, unchanged but for its addresses, before a real Gunicorn.

Requests, an upload, a stream whose first event arrives while the second is not there yet, and a WebSocket go through.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.certificates import client_context
from tests.docs.blocks import ROOT, Block, blocks
from tests.docs.programs import (
    fit_apache,
    fit_caddyfile,
    fit_envoy,
    fit_haproxy,
    fit_lighttpd,
    fit_nghttpx,
    fit_nginx,
    fit_vcl,
)
from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.programs import need
from tests.sockets import free_port

pytestmark = [pytest.mark.long, pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs/ is not here")]

H2C = "uvicorn_worker.UvicornH2CWorker"
CLIENT = "192.0.2.1"


@pytest.fixture(scope="module")
def server() -> Iterator[Gunicorn]:
    """One worker for all fronts, over TCP and over a unix socket."""
    with Gunicorn("fronts_app:app", "-b", "unix:g.sock", "--keep-alive", "75", worker=H2C) as gunicorn:
        gunicorn.wait_log("Ready in")
        yield gunicorn


@pytest.fixture(scope="module")
def proxied() -> Iterator[Gunicorn]:
    """One that wants the PROXY protocol."""
    files = {"gunicorn.conf.py": "proxy_protocol = True"}
    with Gunicorn("fronts_app:app", worker="uvicorn_worker.UvicornWorker", files=files) as gunicorn:
        gunicorn.wait_log("Ready in")
        yield gunicorn


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="front-"))  # short: a unix socket's path has 107 bytes
    yield path
    shutil.rmtree(path)


@dataclass
class Front:
    """Where a front listens."""

    port: int
    tls: bool = False

    @property
    def context(self) -> ssl.SSLContext | None:
        return client_context() if self.tls else None

    def url(self, scheme: str) -> str:
        return f"{scheme}{'s' if self.tls else ''}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    def client(self, *, http2: bool = False) -> httpx.Client:
        verify = self.context or False
        headers = {"X-Forwarded-For": CLIENT}
        base = self.url("http")
        return httpx.Client(
            base_url=base,
            verify=verify,
            http1=not http2,
            http2=http2,
            headers=headers,
            timeout=PATIENCE,
            trust_env=False,
        )


@contextmanager
def run(command: list[str], folder: Path, listener: socket.socket | None = None, **env: str) -> Iterator[None]:
    """A front, ended with the block; it inherits `listener`."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), **env},
            pass_fds=[] if listener is None else [listener.fileno()],
        )
    if listener is not None:
        listener.close()
    try:
        yield
        assert process.poll() is None, log.read_text()
    except Exception as error:
        raise AssertionError(log.read_text(errors="replace")[-5000:]) from error
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exercise(front: Front, server: Gunicorn, *, websocket: bool = True, http2: bool = False) -> dict[str, str]:
    """What everybody wants to go through; what the application was told of the last request."""
    data = os.urandom(300_000)
    with front.client(http2=http2) as client:
        # A front that has just started may not know yet that its servers are up.
        until(lambda: client.get("/").status_code == 200, "the front")
        for _ in range(3):
            assert client.get("/").status_code == 200
        answer = client.post("/echo", content=data)
        assert answer.json()["digest"] == hashlib.sha256(data).hexdigest()
        name = f"{front.port}-{http2}"
        with client.stream("GET", f"/events?{name}") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "data: first"
            release(server, name)
            assert [line for line in lines if line] == ["data: last"]
        seen: dict[str, str] = client.get("/").json()
    if websocket:
        with connect(front.url("ws") + "/ws", ssl=front.context, proxy=None, open_timeout=PATIENCE) as opened:
            for text in ("hello", "x" * 70_000):
                opened.send(text)
                assert opened.recv(PATIENCE) == text
    assert seen["scheme"] == ("https" if front.tls else "http")
    return seen


def release(server: Gunicorn, name: str) -> None:
    """Past the front, over the unix socket or TCP."""
    uds = server.dir / "g.sock"
    if uds.exists():
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(uds)), timeout=PATIENCE) as client:
            assert client.get(f"http://past/release?{name}").status_code == 200
        return
    with server.connect() as raw:
        raw.send(
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /release?%s HTTP/1.1\r\nHost: past\r\n\r\n" % name.encode()
        )
        assert raw.response().status == 200


def idle_connections(server: Gunicorn) -> int:
    """Connections that are kept to the worker, by its board."""
    command = [sys.executable, "-m", "uvicorn_worker", "status", str(server.pid), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return sum(worker["figures"]["idle"] for worker in json.loads(done.stdout)["workers"])


@pytest.mark.parametrize("block", blocks("nginx"), ids=str)
def test_nginx(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("nginx")
    listener = socket.create_server(("127.0.0.1", 0))
    front = Front(listener.getsockname()[1], tls=bool(re.search(r"listen \S+ ssl", block.text)))
    text = fit_nginx(
        block.text,
        folder,
        listen=f"127.0.0.1:{front.port}",
        tcp=f"127.0.0.1:{server.port}",
        uds=str(server.dir / "g.sock"),
    )
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with run(command, folder, listener, NGINX=f"{listener.fileno()};"):
        grpc = "grpc_pass" in block.text
        seen = exercise(front, server, websocket="$http_upgrade" in block.text, http2=grpc)
        if "http2" in block.text:
            exercise(front, server, websocket=False, http2=True)
    assert seen["client"] == CLIENT
    assert seen["host"] == (f"localhost:{front.port}" if front.tls else f"127.0.0.1:{front.port}")
    assert seen["version"] == ("2" if grpc else "1.1" if "proxy_http_version 1.1" in block.text else seen["version"])


@pytest.mark.parametrize("kept", [True, False])
def test_nginx_keeps_connections_as_the_page_says(kept: bool, server: Gunicorn, folder: Path) -> None:
    """As the worker's board has it, with the first block that keeps them and the one that does not."""
    program = need("nginx")
    version = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=60, check=True).stderr
    if not kept and tuple(map(int, version.split("/")[1].split()[0].split("."))) >= (1, 29, 7):
        pytest.skip("this nginx keeps connections by default")
    page = [block for block in blocks("nginx") if block.page == "docs/deploy/nginx.md"]
    block = next(block for block in page if ("keepalive 32" in block.text) is kept and "ssl" not in block.text)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    uds, tcp = str(server.dir / "g.sock"), f"127.0.0.1:{server.port}"
    (folder / "nginx.conf").write_text(fit_nginx(block.text, folder, listen=f"127.0.0.1:{port}", tcp=tcp, uds=uds))
    until(lambda: idle_connections(server) == 0, "the connections of other fronts to end")
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with run(command, folder, listener, NGINX=f"{listener.fileno()};"), Front(port).client() as client:
        served = client.get("/").status_code
        assert served == 200
        expected = 1 if kept else 0
        until(lambda: idle_connections(server) == expected, f"{expected} idle connections on the board")


@pytest.mark.parametrize("block", blocks("haproxy"), ids=str)
def test_haproxy(block: Block, server: Gunicorn, proxied: Gunicorn, folder: Path) -> None:
    program = need("haproxy")
    listener = socket.create_server(("127.0.0.1", 0))
    # TLS that is passed through ends at Gunicorn; it is the same to HAProxy as plain bytes.
    front = Front(listener.getsockname()[1], tls=" ssl crt" in block.text)
    behind = proxied if "send-proxy" in block.text else server
    text = fit_haproxy(block.text, folder, listen=f"fd@{listener.fileno()}", tcp=f"127.0.0.1:{behind.port}")
    (folder / "haproxy.cfg").write_text(text)
    with run([program, "-db", "-f", str(folder / "haproxy.cfg")], folder, listener):
        seen = exercise(front, behind)
        if "alpn h2" in block.text:
            exercise(front, behind, websocket=False, http2=True)
    # By the PROXY protocol it is HAProxy's peer: 127.0.0.1, which is believed what it says of others.
    assert seen["client"] == CLIENT
    assert seen["version"] == ("2" if "proto h2" in block.text else "1.1")


@pytest.mark.parametrize("block", blocks("caddyfile"), ids=str)
def test_caddy(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("caddy")
    front = Front(free_port())
    tcp, uds = f"127.0.0.1:{server.port}", str(server.dir / "g.sock")
    (folder / "Caddyfile").write_text(fit_caddyfile(block.text, port=front.port, tcp=tcp, uds=uds))
    with run([program, "run", "--adapter", "caddyfile", "--config", "Caddyfile"], folder):
        until(lambda: listens(front.port), "caddy")
        seen = exercise(front, server, websocket="h2c" not in block.text)
    # It does not believe its clients, and says who they are.
    assert seen["client"] == "127.0.0.1"
    assert seen["version"] == ("2" if "h2c" in block.text else "1.1")


@pytest.mark.parametrize("block", [one for one in blocks("yaml") if "static_resources" in one.text], ids=str)
def test_envoy(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("envoy")
    front = Front(free_port())
    text = fit_envoy(block.text, port=front.port, tcp=f"127.0.0.1:{server.port}")
    (folder / "envoy.yaml").write_text(text)
    command = [program, "-c", "envoy.yaml", "--log-level", "warning", "--concurrency", "1", "--use-dynamic-base-id"]
    with run(command, folder):
        until(lambda: listens(front.port), "envoy")
        seen = exercise(front, server)
    # It knows its own machine, and adds the address of that.
    assert seen["client"] not in {"127.0.0.1", ""}
    assert seen["version"] == "2"


def reload_behind(front: Front, server: Gunicorn) -> None:
    """Asks through a front, over four connections, while the worker is replaced."""
    (old,) = server.workers()
    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask_until, front, lambda: old not in server.workers()) for _ in range(4)]
        server.signal(signal.SIGHUP)
        counts = [one.result(PATIENCE) for one in asking]
    assert all(set(count) == {200} for count in counts), counts


def ask_until(front: Front, done: Callable[[], bool]) -> Counter[int]:
    """How often requests, one after the other, had which status, until it is done and for a while longer."""
    seen: Counter[int] = Counter()
    with front.client() as client:
        while not done() and sum(seen.values()) < 50_000:
            seen[client.post("/x", content=b"a").status_code] += 1
        for _ in range(20):
            seen[client.post("/x", content=b"a").status_code] += 1
    return seen


@pytest.mark.parametrize("block", blocks("apache"), ids=str)
def test_apache(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("apache2")
    front, uds = Front(free_port()), server.dir / "g.sock"
    if os.geteuid() == 0:
        # It gives up its rights, and refuses to keep them.
        for path in (server.dir, folder, uds):
            path.chmod(0o777)
    tcp = f"127.0.0.1:{server.port}"
    (folder / "httpd.conf").write_text(fit_apache(block.text, folder, port=front.port, tcp=tcp, uds=str(uds)))
    http2 = "h2c:" in block.text
    with run([program, "-D", "FOREGROUND", "-f", str(folder / "httpd.conf")], folder):
        until(lambda: listens(front.port), "apache2")
        seen = exercise(front, server, websocket=not http2)
        if "unix:" not in block.text:
            reload_behind(front, server)
    assert seen["client"] == CLIENT
    assert seen["host"] == f"127.0.0.1:{front.port}"
    assert seen["version"] == ("2" if http2 else "1.1")


@pytest.mark.parametrize("block", blocks("vcl"), ids=str)
def test_varnish(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("varnishd")
    front = Front(free_port())
    (folder / "default.vcl").write_text(fit_vcl(block.text, tcp=f"127.0.0.1:{server.port}"))
    command = [program, "-j", "none", "-F", "-n", str(folder / "varnish"), "-f", str(folder / "default.vcl")]
    with run([*command, "-a", f"127.0.0.1:{front.port}", "-s", "malloc,16m"], folder):
        until(lambda: listens(front.port), "varnishd")
        seen = exercise(front, server)
        reload_behind(front, server)
    assert seen["client"] == CLIENT
    assert seen["version"] == "1.1"


@pytest.mark.parametrize("block", blocks("nghttpx"), ids=str)
def test_nghttpx(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("nghttpx")
    front = Front(free_port(), tls=True)
    text = fit_nghttpx(block.text, folder, port=front.port, tcp=f"127.0.0.1:{server.port}")
    (folder / "nghttpx.conf").write_text(text)
    with run([program, f"--conf={folder}/nghttpx.conf", "--errorlog-file=/dev/stderr"], folder):
        until(lambda: listens(front.port), "nghttpx")
        exercise(front, server, websocket=False, http2=True)
        seen = exercise(front, server)
        reload_behind(front, server)
    assert seen["client"] == CLIENT
    assert seen["version"] == "2"


@pytest.mark.parametrize("block", blocks("lighttpd"), ids=str)
def test_lighttpd(block: Block, server: Gunicorn, folder: Path) -> None:
    program = need("lighttpd")
    front = Front(free_port())
    text = fit_lighttpd(block.text, folder, port=front.port, tcp=f"127.0.0.1:{server.port}")
    (folder / "lighttpd.conf").write_text(text)
    with run([program, "-D", "-f", str(folder / "lighttpd.conf")], folder):
        until(lambda: listens(front.port), "lighttpd")
        seen = exercise(front, server)
    assert seen["client"] == CLIENT
    assert seen["version"] == "1.1"
