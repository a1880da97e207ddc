"""Deployments as the handbooks print them, unchanged but for the worker's name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.e2e.frontends import nginx
from tests.e2e.harness import PATIENCE, Gunicorn, alive, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

HANDBOOK = """
import os

bind = "127.0.0.1:" + os.environ.get("PORT", "8000")
backlog = 2048
workers = 2
worker_class = "{worker}"
worker_connections = 1000
max_requests = 1000
max_requests_jitter = 50
timeout = 30
keepalive = 2
graceful_timeout = 30
accesslog = "-"
errorlog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
proc_name = "shop"
"""

NGINX = """
client_max_body_size 10m;
upstream app {{
    server unix:{dir}/app.sock;
    keepalive 4;
}}
server {{
    listen unix:{dir}/front.sock;
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_buffering off;
    }}
}}
"""


def test_handbook_configuration_file(serve: Serve, worker: str) -> None:
    files = {"gunicorn.conf.py": HANDBOOK.format(worker=worker)}
    server = serve("probe:app", files=files, bind=None, env={"PORT": "0"})
    server.wait_started(2)
    with server.client() as client:
        assert client.get("/").text == "Hello, world!"
        assert client.post("/echo", content=b"x" * 1000).text.startswith("1000 ")
    lines = until(lambda: server.out.splitlines() if server.out.count("\n") == 2 else None, "two access lines")
    assert re.fullmatch(r'127\.0\.0\.1 "GET / HTTP/1\.1" 200 13 \d+', lines[0])
    assert re.fullmatch(r'127\.0\.0\.1 "POST /echo HTTP/1\.1" 200 69 \d+', lines[1])
    assert server.stop_gracefully() == 0
    assert len(server.events("shutdown")) == 2
    assert "[WARNING]" not in server.log
    assert "[ERROR]" not in server.log


def unix_client(path: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(transport=transport, base_url="http://name.test", timeout=PATIENCE, trust_env=False)


def exercise(client: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    for _ in range(3):
        assert client.get("/").text == "Hello, world!"
    assert client.post("/echo", content=data).text.startswith("3000000 ")
    assert client.get("/stream?n=100").text == "".join(f"part {number}\n" for number in range(100))


def test_daemon_with_pidfile_and_unix_socket(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--umask", "007", worker=worker, workers=2, bind="unix:app.sock", daemon=True)
    server.wait_started(2)
    path = server.dir / "app.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    master = int(server.read("gunicorn.pid"))
    assert alive(master)
    assert len(server.workers()) == 2
    with unix_client(path) as client:
        exercise(client)
        seen = client.get("/report").json()
        assert seen["server"] == [str(path), None] or seen["server"] == ["app.sock", None]
    assert server.stop_gracefully() == 0
    assert not (server.dir / "gunicorn.pid").exists()
    assert not path.exists()
    assert len(server.events("shutdown")) == 2
    assert server.leftovers() == []


def test_daemon_on_a_unix_socket_behind_nginx(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--umask", "007", worker=worker, bind="unix:app.sock", daemon=True)
    server.wait_started()
    with nginx(server.dir, NGINX), unix_client(server.dir / "front.sock") as client:
        exercise(client)
        assert client.get("/fail").status_code == 500
        assert client.head("/").headers["content-length"] == "13"
    assert server.stop_gracefully() == 0
