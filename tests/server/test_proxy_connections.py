"""A server whose connections begin with a header of the PROXY protocol."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from pathlib import Path

import pytest

from tests.http1.apps import Recorder, echo
from tests.proxies.proxy_headers import tlv, v1, v2, v2_unix
from tests.scripted import get, post
from tests.server.conftest import serving
from tests.server.running import App, Running, until
from tests.sockets import Peer, Run, listen

CLIENT, SERVER = ("203.0.113.5", 50123), ("10.0.0.9", 443)
FORWARDED = ("X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https")


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
@pytest.mark.parametrize("where", ["127.0.0.1", "unix"])
def test_the_header_tells_the_ends(run: Run, tmp_path: Path, header: bytes, where: str) -> None:
    app = Recorder(echo)

    async def main() -> None:
        sock = listen(tmp_path / "app.sock" if where == "unix" else where)
        async with serving(App(app), sock, proxy_protocol="auto"):
            for _ in range(3):
                peer = await Peer.connect(sock)
                assert (await peer.ask(header + post(b"x" * 100_000))).body == b"POST / " + b"x" * 100_000
                assert (await peer.ask(post(b"y"))).body == b"POST / y"

    run(main())
    seen = [(scope["client"], scope["server"], scope["scheme"]) for scope in app.scopes]
    assert seen == [(CLIENT, SERVER, "http")] * 6


def test_without_a_header_the_connection_is_closed(run: Run) -> None:
    app = Recorder(echo)

    async def main() -> None:
        sock = listen()
        async with serving(App(app), sock, proxy_protocol="auto"):
            peer = await Peer.connect(sock)
            peer.send(get())
            assert await peer.rest() == b""

    run(main())
    assert not app.scopes


def test_the_proxys_own_connections_keep_their_address(run: Run) -> None:
    app = Recorder(echo)

    async def main() -> None:
        sock = listen()
        async with serving(App(app), sock, proxy_protocol="auto"):
            for header in (v2(command=0x20), b"PROXY UNKNOWN\r\n"):
                assert (await (await Peer.connect(sock)).ask(header + get())).status == 200
        assert [scope["client"][0] for scope in app.scopes] == ["127.0.0.1"] * 2

    run(main())


def test_the_address_that_it_tells_is_the_peer_for_forwarded_fields(run: Run) -> None:
    app = Recorder(echo)

    async def main() -> None:
        sock = listen()
        headers = [v1(), v1(source="10.0.0.1"), v2_unix(b"/c", b"/s"), v2(command=0x20)]
        async with serving(App(app), sock, proxy_protocol="auto", forwarded_allow_ips="10.0.0.1,unix"):
            for header in headers:
                assert (await (await Peer.connect(sock)).ask(header + get("/", *FORWARDED))).status == 200

    run(main())
    told = ("198.51.100.9", 0)
    assert [scope["client"] for scope in app.scopes[:3]] == [CLIENT, told, told]
    assert [scope["scheme"] for scope in app.scopes] == ["http", "https", "https", "http"]
    assert app.scopes[2]["server"] == ("/s", None)


def test_a_proxy_that_ends_tls_says_so(run: Run) -> None:
    app = Recorder(echo)

    async def main() -> None:
        sock = listen()
        async with serving(App(app), sock, proxy_protocol="v2"):
            peer = await Peer.connect(sock)
            peer.send(v2(tlvs=tlv(0x20, b"\x01\0\0\0\0")) + get())
            # It may close its half, as over any TCP connection.
            peer.writer.write_eof()
            assert (await peer.response()).status == 200

    run(main())
    assert app.scopes[0]["scheme"] == "https"


# Python 3.10 does not mark the transport as closed where the client said close_notify first.
@pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
def test_tls_begins_behind_the_header(run: Run, certificate: Path) -> None:
    app = Recorder(echo)
    client_side = ssl.create_default_context(cafile=certificate)

    async def main() -> None:
        sock = listen()
        async with serving(App(app), sock, ssl_certfile=str(certificate), proxy_protocol="auto"):
            for header in (v1(), v2()):
                peer = await connect_behind(header, sock, client_side)
                assert (await peer.ask(post(b"x" * 100_000))).body == b"POST / " + b"x" * 100_000
            broken = await Peer.connect(sock)
            broken.send(v1() + get())
            await broken.rest()

    run(main())
    gc.collect()
    seen = [(scope["client"], scope["server"], scope["scheme"]) for scope in app.scopes]
    assert seen == [(CLIENT, SERVER, "https")] * 2


async def connect_behind(header: bytes, sock: socket.socket, tls: ssl.SSLContext) -> Peer:
    """A connection on which a header comes before TLS, most likely in one read with the start of it."""
    plain = socket.create_connection(sock.getsockname())
    plain.sendall(header)
    return Peer(*await asyncio.open_connection(sock=plain, ssl=tls, server_hostname="localhost"))


def test_a_stop_waits_for_a_header_that_has_begun(run: Run) -> None:
    app = App(Recorder(echo))

    async def main() -> None:
        async with Running(app, proxy_protocol="v1", timeout_graceful_shutdown=10) as running:
            header = v1()
            silent = await Peer.connect(running.sock)
            begun = await Peer.connect(running.sock)
            begun.send(header[:10])
            await until(lambda: len(running.server.own_runtime.connections) == 2)
            running.server.should_exit = True
            # The one that has said nothing is closed.
            assert await silent.rest() == b""
            begun.send(header[10:] + get())
            assert (await begun.response()).status == 200
            await running.stopped()

    run(main())


def test_a_stop_at_once_closes_all(run: Run) -> None:
    async def main() -> None:
        async with Running(App(), proxy_protocol="v1", timeout_graceful_shutdown=10) as running:
            peer = await Peer.connect(running.sock)
            peer.send(b"PROXY ")
            await until(lambda: running.server.own_runtime.connections)
            running.server.force_exit = True
            assert await peer.rest() == b""
            await running.stopped()

    run(main())


def test_the_deadline_is_that_of_a_head(run: Run) -> None:
    async def main() -> None:
        sock = listen()
        async with serving(App(), sock, proxy_protocol="v1", timeout_request_head=0.5):
            peer = await Peer.connect(sock)
            peer.send(b"PROXY ")
            assert await peer.rest() == b""

    run(main())
