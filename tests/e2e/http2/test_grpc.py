"""grpcio calls a gRPC service that is a plain ASGI app: trailers, streaming, status; alone and behind nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.frontends import nginx
from tests.e2e.harness import PATIENCE, Gunicorn

NGINX = """
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
"""


@contextmanager
def channel(target: str) -> Iterator[Any]:
    """To a service; the test is skipped where there is no grpcio, and what is beside it can be imported."""
    grpc = pytest.importorskip("grpc")
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(target, options=options) as opened:
        yield opened


def exercise(opened: Any) -> None:
    """Unary and server-streaming calls, large messages, and a call that fails."""
    grpc = pytest.importorskip("grpc")
    unary, stream = opened.unary_unary("/echo.Echo/Unary"), opened.unary_stream("/echo.Echo/Stream")
    assert unary(b"hello", timeout=PATIENCE) == b"hello"
    assert unary(b"x" * 1_000_000, timeout=PATIENCE) == b"x" * 1_000_000
    assert list(stream(b"again", timeout=PATIENCE)) == [b"again"] * 3
    # Not allowed by RFC 9113, and sent as it is given.
    assert unary(b"note", metadata=[("x-note", " it has white space around it ")], timeout=PATIENCE) == b"note"
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
    with nginx(server.dir, NGINX, port=server.port), channel(f"unix:{server.dir}/front.sock") as opened:
        exercise(opened)
