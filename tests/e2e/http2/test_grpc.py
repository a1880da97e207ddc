"""grpcio calls a gRPC service that is a plain ASGI app: trailers, streaming, status; alone and behind nginx."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, until
from tests.e2e.http2.conftest import tool

grpc = pytest.importorskip("grpc")

NGINX = """
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    upstream app {{
        server 127.0.0.1:{port};
        keepalive 4;
    }}
    server {{
        listen unix:{dir}/front.sock http2;
        location / {{
            grpc_pass grpc://app;
        }}
    }}
}}
"""


@contextmanager
def channel(target: str) -> Iterator[Any]:
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(target, options=options) as opened:
        yield opened


def exercise(opened: Any) -> None:
    """Unary and server-streaming calls, large messages, and a call that fails."""
    unary, stream = opened.unary_unary("/echo.Echo/Unary"), opened.unary_stream("/echo.Echo/Stream")
    assert unary(b"hello", timeout=PATIENCE) == b"hello"
    assert unary(b"x" * 1_000_000, timeout=PATIENCE) == b"x" * 1_000_000
    assert list(stream(b"again", timeout=PATIENCE)) == [b"again"] * 3
    calls = [unary.future(b"%d" % number, timeout=PATIENCE) for number in range(50)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(50)]
    with pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary("/echo.Echo/Fail")(b"x", timeout=PATIENCE)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "not here"


def test_alone(server: Gunicorn) -> None:
    with channel(f"127.0.0.1:{server.port}") as opened:
        exercise(opened)


def test_behind_nginx(server: Gunicorn) -> None:
    program, folder = tool("nginx"), server.dir
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(user=user, dir=folder, port=server.port))
    with (folder / "nginx.log").open("wb") as log:
        command = [program, "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        front = folder / "front.sock"
        until(lambda: front.exists() or process.poll() is not None, "nginx")
        assert process.poll() is None, (folder / "nginx.log").read_text()
        with channel(f"unix:{front}") as opened:
            exercise(opened)
    finally:
        process.terminate()
        process.wait(PATIENCE)
