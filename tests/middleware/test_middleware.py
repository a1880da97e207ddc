"""What applications of uvicorn's users put around themselves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from uvicorn_worker.middleware.asgi2 import ASGI2Middleware
from uvicorn_worker.middleware.message_logger import MessageLoggerMiddleware
from uvicorn_worker.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn_worker.middleware.wsgi import WSGIMiddleware


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Tells what it was called with."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "seen", "scope": scope})


def call(application: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(application(scope, receive, send))
    return sent


def scope_of(client: tuple[str, int] | None, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    base = {
        "type": "http",
        "method": "GET",
        "http_version": "1.1",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }
    return {**base, "client": client, "headers": list(headers), **more}


FOR = (b"x-forwarded-for", b"203.0.113.5, 10.0.0.1")
PROTO = (b"x-forwarded-proto", b"https")


class TestProxyHeaders:
    @pytest.mark.parametrize(
        ("hosts", "client", "seen"),
        [
            ("127.0.0.1", ("127.0.0.1", 1), ("10.0.0.1", 0)),
            (["127.0.0.1", "10.0.0.0/8"], ("127.0.0.1", 1), ("203.0.113.5", 0)),
            ("*", ("192.0.2.1", 1), ("203.0.113.5", 0)),
            ("127.0.0.1", ("192.0.2.1", 1), ("192.0.2.1", 1)),
        ],
    )
    def test_client(self, hosts: Any, client: tuple[str, int], seen: tuple[str, int]) -> None:
        scope = scope_of(client, FOR, PROTO)
        found = call(ProxyHeadersMiddleware(app, trusted_hosts=hosts), scope)[1]["scope"]
        assert found["client"] == seen
        assert found["scheme"] == ("http" if seen == client else "https")
        assert scope["scheme"] == "http"

    def test_websocket(self) -> None:
        scope = scope_of(("127.0.0.1", 1), PROTO, type="websocket", scheme="ws")
        assert call(ProxyHeadersMiddleware(app), scope)[1]["scope"]["scheme"] == "wss"

    def test_what_says_nothing(self) -> None:
        for headers in ([], [PROTO, (b"x-forwarded-ssl", b"off")]):
            scope = scope_of(("127.0.0.1", 1), *headers)
            assert call(ProxyHeadersMiddleware(app), scope)[1]["scope"]["scheme"] == "http"
        lifespan = {"type": "lifespan"}
        assert call(ProxyHeadersMiddleware(app), lifespan)[1]["scope"] == lifespan


class TestTrustedHosts:
    """Tests of deployments ask what their setting means."""

    def test_what_is_in_it(self) -> None:
        hosts = ProxyHeadersMiddleware(app, "127.0.0.1, 10.0.0.0/8,fd00::/8,proxy,::1").trusted_hosts
        assert all(host in hosts for host in ("127.0.0.1", "10.9.8.7", "fd00::1", "::1"))
        assert not any(host in hosts for host in ("192.0.2.1", "proxy", "", None))
        assert hosts.trusted_literals == {"proxy"}
        assert {str(each) for each in hosts.trusted_hosts} == {"127.0.0.1", "::1"}
        assert {str(each) for each in hosts.trusted_networks} == {"10.0.0.0/8", "fd00::/8"}
        assert not hosts.always_trust

    def test_everybody(self) -> None:
        hosts = ProxyHeadersMiddleware(app, ["*"]).trusted_hosts
        assert hosts.always_trust
        assert "192.0.2.1" in hosts
        assert None in hosts

    @pytest.mark.parametrize(
        ("trusted", "client"),
        [
            ("*", ("1.2.3.4", 0)),
            ("10.0.0.0/8", ("203.0.113.9", 80)),
            ("192.0.2.1", ("10.0.0.1", 0)),
        ],
    )
    def test_client(self, trusted: str, client: tuple[str, int]) -> None:
        hosts = ProxyHeadersMiddleware(app, trusted).trusted_hosts
        assert hosts.get_trusted_client_address("1.2.3.4, 203.0.113.9:80, 10.0.0.1") == client
        assert hosts.get_trusted_client_address("") == ("", 0)


def test_asgi2() -> None:
    class App:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None:
            await app(self.scope, receive, send)

    assert call(ASGI2Middleware(App), scope_of(None))[0]["status"] == 200


def test_wsgi() -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("201 Created", [])
        return [environ["REQUEST_METHOD"].encode()]

    sent = call(WSGIMiddleware(wsgi, workers=2), scope_of(("127.0.0.1", 1)))
    assert sent[0]["status"] == 201
    assert b"".join(message.get("body", b"") for message in sent) == b"GET"


def test_messages_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    middleware = MessageLoggerMiddleware(app)
    assert middleware.app is app
    with caplog.at_level(5, logger="uvicorn.asgi"):
        logging.getLogger("uvicorn.asgi").propagate = True
        call(middleware, scope_of(("127.0.0.1", 1)))
    assert [record.getMessage().split()[4] for record in caplog.records] == ["Started", "Send", "Send", "Completed"]
