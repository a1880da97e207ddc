"""TLS on real sockets: handshakes that fail, what an application sees, the end of a connection, new certificates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import CLIENT_NAME, Site, authority, client_context, new_authority
from tests.http1.apps import Recorder, echo
from tests.scripted import get, post
from tests.server.conftest import serving
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Server
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.clock import Ticker
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.tls import contexts as tls

# Python 3.10 does not mark the transport as closed where the client said close_notify first.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")

BARE = {"lifespan": "off", "access_log": False}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that come soon, so that nobody has to wait for a deadline that is counted in them."""

    class FastTicker(Ticker):
        def _tick(self) -> None:
            self._due = time.monotonic() + 0.02
            super()._tick()

    monkeypatch.setattr("uvicorn_worker.server.server.Ticker", FastTicker)
    monkeypatch.setattr(tls, "LOOK_TICKS", 1)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Callable[[], bool]:
    """Whether nothing was logged, by anybody, but start and stop of the server and what is for debugging."""
    caplog.set_level(logging.INFO)
    usual = ("Uvicorn running on ", "Started server process", "Shutting down", "Drain", "Finished server process")
    return lambda: [record for record in caplog.records if not record.getMessage().startswith(usual)] == []


async def gone(server: Server) -> None:
    """Wait until the server has no connection left."""
    while server.own_runtime.connections:
        await asyncio.sleep(0.01)


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def raw(sock: socket.socket) -> socket.socket:
    client = socket.create_connection(sock.getsockname())
    client.settimeout(15)
    return client


def everything(client: socket.socket) -> bytes:
    """All that comes; an end without close_notify is an error."""
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


class TestHandshake:
    def served(self, sock: socket.socket) -> Any:
        """A good client, for there must be no harm done."""

        async def ask() -> int:
            peer = await Peer.connect(sock, client_context())
            return (await peer.ask(get())).status

        return ask()

    def test_plain_http_gets_a_clean_close(self, run: Run, site: Site, quiet: Callable[[], bool]) -> None:
        def ask(sock: socket.socket) -> bytes:
            with raw(sock) as client:
                client.sendall(get())
                return client.recv(1000)

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, **site.options) as server:
                assert await in_thread(ask, sock) == b""
                assert not server.own_runtime.connections
                assert await self.served(sock) == 200

        run(main())
        assert quiet()

    @pytest.mark.parametrize(
        "client",
        [
            lambda: client_context(minimum_version=ssl.TLSVersion.TLSv1_3),
            ssl.create_default_context,
        ],
        ids=["version", "distrust"],
    )
    def test_one_that_fails_is_no_news(
        self, run: Run, site: Site, client: Callable[[], ssl.SSLContext], quiet: Callable[[], bool]
    ) -> None:
        def factory(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            context = default()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            return context

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, ssl_context_factory=factory, **site.options) as server:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await Peer.connect(sock, client())
                assert await self.served(sock) == 200
                assert len(server.own_runtime.connections) == 1

        run(main())
        assert quiet()

    def test_a_silent_client_is_cut_at_the_deadline(self, run: Run, site: Site, quiet: Callable[[], bool]) -> None:
        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, timeout_request_head=0.1, **site.options):
                assert await in_thread(everything, raw(sock)) == b""

        run(main())
        assert quiet()

    def test_a_client_that_leaves_in_the_middle(self, run: Run, site: Site, quiet: Callable[[], bool]) -> None:
        hello, _ = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            client_context().wrap_bio(_, hello, server_hostname="localhost").do_handshake()
        greeting = hello.read()

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, **site.options):
                for part in (greeting[:20], greeting, greeting + b"nonsense"):
                    with raw(sock) as client:
                        client.sendall(part)
                assert await self.served(sock) == 200

        run(main())
        assert quiet()


class TestClientCertificates:
    def options(self, site: Site, required: int) -> dict[str, Any]:
        return {**site.options, "ssl_ca_certs": str(site.ca), "ssl_cert_reqs": required}

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_it_is_required(self, run: Run, site: Site, version: ssl.TLSVersion, quiet: Callable[[], bool]) -> None:
        async def main() -> None:
            sock = listen()
            app = Recorder(echo)
            async with serving(app, sock, **BARE, **self.options(site, 2)):
                for identity in (None, new_authority().issue_cert("mallory@example.org")):
                    # With TLS 1.3 the client learns of it after its side of the handshake.
                    with pytest.raises((OSError, EOFError)):
                        await (await Peer.connect(sock, client_context(identity, maximum_version=version))).ask(get())
                assert not app.scopes
                peer = await Peer.connect(sock, client_context(jane(), maximum_version=version))
                assert (await peer.ask(get())).status == 200
                assert app.scopes[-1]["extensions"]["tls"]["client_cert_name"] == CLIENT_NAME

        run(main())
        assert quiet()

    def test_the_extension(self, run: Run, site: Site) -> None:
        identity = jane()

        async def main() -> None:
            sock = listen()
            app = Recorder(echo)
            async with serving(app, sock, **BARE, **self.options(site, 1)):
                peer = await Peer.connect(sock, client_context(identity))
                assert (await peer.ask(get())).status == 200
                extension = app.scopes[-1]["extensions"]["tls"]
                assert (await peer.ask(get())).status == 200
                # Made once for a connection, not for a request.
                assert app.scopes[-1]["extensions"]["tls"] is extension
                assert extension["server_cert"] == ssl.DER_cert_to_PEM_cert(site.certificate)
                own = identity.cert_chain_pems[0].bytes().decode()
                assert extension["client_cert_chain"][0].split() == own.split()
                assert (extension["client_cert_name"], extension["client_cert_error"]) == (CLIENT_NAME, None)
                assert extension["tls_version"] == 0x0304
                assert extension["cipher_suite"] in (0x1301, 0x1302, 0x1303)
                peer = await Peer.connect(sock, client_context())
                assert (await peer.ask(get())).status == 200
                extension = app.scopes[-1]["extensions"]["tls"]
                assert (extension["client_cert_chain"], extension["client_cert_name"]) == ([], None)

        run(main())

    def test_a_websocket_has_it_too(self, run: Run, site: Site) -> None:
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            await receive()
            await send({"type": "websocket.close"})

        upgrade = get("/", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        upgrade = upgrade.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

        async def main() -> None:
            sock = listen()
            async with serving(app, sock, **BARE, **site.options):
                peer = await Peer.connect(sock, client_context())
                assert (await peer.ask(upgrade)).status == 403

        run(main())
        (scope,) = scopes
        assert (scope["type"], scope["scheme"]) == ("websocket", "wss")
        assert scope["extensions"]["tls"]["tls_version"] == 0x0304


def jane() -> Any:
    # The subject is CLIENT_NAME.
    return authority().issue_cert(
        "jane@example.org", common_name="Jane", organization_name="Example", organization_unit_name="Ops, EU"
    )


@pytest.mark.usefixtures("fast")
class TestEnd:
    @pytest.mark.parametrize("last", [b"Connection: close", b"Connection: keep-alive"])
    def test_a_client_that_does_not_answer_the_close_is_left(self, run: Run, site: Site, last: bytes) -> None:
        def ask(sock: socket.socket) -> bytes:
            client = client_context().wrap_socket(raw(sock), server_hostname="localhost")
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + last + b"\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            # From here on nobody reads close_notify.
            with socket.socket(fileno=client.detach()) as below:
                below.settimeout(15)
                with contextlib.suppress(ConnectionError):
                    return b"".join(iter(lambda: below.recv(65536), b""))
                return b"reset"

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, timeout_keep_alive=0.1, **site.options) as server:
                # There is an end, and it came after a close_notify.
                assert await in_thread(ask, sock) != b""
                await gone(server)

        run(main())

    def test_a_slow_client_gets_all_of_it(self, run: Run, site: Site) -> None:
        size = 8_000_000

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(size)})

        def ask(sock: socket.socket) -> int:
            got = 0
            with client_context().wrap_socket(
                raw(sock), server_hostname="localhost", suppress_ragged_eofs=False
            ) as client:
                client.sendall(get("/", "Connection: close"))
                while data := client.recv(16384):
                    got += len(data)
                    time.sleep(0.001)
            return got

        async def main() -> None:
            sock = listen()
            async with serving(app, sock, **BARE, **site.options) as server:
                assert await in_thread(ask, sock) >= size
                await gone(server)

        run(main())

    def test_an_answer_that_closes_ends_with_close_notify(self, run: Run, site: Site) -> None:
        def ask(sock: socket.socket) -> bytes:
            client = client_context().wrap_socket(raw(sock), server_hostname="localhost", suppress_ragged_eofs=False)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            return everything(client)

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, **site.options) as server:
                assert (await in_thread(ask, sock)).startswith(b"HTTP/1.1 400 ")
                await gone(server)

        run(main())

    def test_a_request_that_is_cut_off_is_not_run(self, run: Run, site: Site) -> None:
        async def main() -> None:
            sock = listen()
            app = Recorder(echo)
            async with serving(app, sock, **BARE, **site.options) as server:
                peer = await Peer.connect(sock, client_context())
                peer.send(get()[:-2])
                while not server.own_runtime.connections:
                    await asyncio.sleep(0.01)
                peer.reset()
                await gone(server)
                assert not app.scopes

        run(main())


class TestStart:
    def test_a_mistake_ends_it_before_the_application_starts(self, run: Run, site: Site) -> None:
        app = Recorder(echo)

        async def main() -> None:
            with listen() as sock, pytest.raises(ConfigError, match="ssl_keyfile"):
                async with serving(app, sock, ssl_certfile=str(site.cert), ssl_keyfile="/nowhere"):
                    pass

        run(main())
        assert not app.scopes


@pytest.mark.usefixtures("fast")
class TestNewCertificates:
    def test_new_connections_get_the_new_one(self, run: Run, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        def shown(peer: Peer) -> bytes:
            certificate: bytes = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return certificate

        async def main() -> None:
            sock = listen()
            async with serving(echo, sock, **BARE, **site.options):
                before = await Peer.connect(sock, client_context())
                assert shown(before) == site.certificate
                new = site.renew()
                while shown(after := await Peer.connect(sock, client_context())) != new:
                    await after.close()
                assert (await after.ask(post(b"new"))).body == b"POST / new"
                assert (await before.ask(post(b"old"))).body == b"POST / old"

        run(main())
