"""Sockets of an SO_REUSEPORT group: one leaves it, and no client notices."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Site, client_context
from tests.http1.apps import Gate, hello
from tests.scripted import get
from tests.server.running import App, until
from tests.sockets import Peer, Run
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import acceptor, reuse_port
from uvicorn_worker.server.surroundings import Surroundings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the queues are those of Linux")

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27


def member(port: int = 0, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    return sock


def deafen(sock: socket.socket) -> None:
    """Let the kernel drop whatever comes to this socket: a handshake stays half done."""
    drop = array("B", struct.pack("HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, drop.buffer_info()[0]))


def syns_sent_again(peer: Peer) -> int:
    """How often the kernel has sent something again on a connection that was just made."""
    info: bytes = peer.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    # tcpi_total_retrans of struct tcp_info.
    again: int = struct.unpack_from("I", info, 100)[0]
    return again


class ReusedPort(Surroundings):
    """Those of a worker with reuse_port: sockets of its own, beside those of the master."""

    def __init__(self, *shared: socket.socket) -> None:
        self.shared = list(shared)

    def divide(self, sockets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        return self.shared, list(sockets)


async def started(sock: socket.socket, app: App) -> Server:
    server = Server(Config(app=app, timeout_drain_idle=0.2))
    server.own_surroundings = ReusedPort()
    await server.startup([sock])
    return server


async def stopped(server: Server, sock: socket.socket) -> None:
    server.should_exit = True
    # As the worker does: the queue is gone only when every duplicate of the socket is closed.
    sock.close()
    await server.shutdown()


def test_no_request_is_lost_when_one_of_two_leaves(run: Run) -> None:
    answered: dict[str, int] = {"leaves": 0, "stays": 0}

    def named(name: str) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            answered[name] += 1
            await hello(scope, receive, send)

        return App(app)

    async def main() -> None:
        first = member()
        address = first.getsockname()
        second = member(address[1])
        leaving, staying = await started(first, named("leaves")), await started(second, named("stays"))
        done = asyncio.Event()

        async def client() -> int:
            count = 0
            while not done.is_set():
                reader, writer = await asyncio.open_connection(*address)
                writer.write(get())
                assert (await reader.readuntil(b"world!")).startswith(b"HTTP/1.1 200")
                writer.close()
                count += 1
            return count

        clients = [asyncio.ensure_future(client()) for _ in range(8)]
        await until(lambda: min(answered.values()) > 5)
        await stopped(leaving, first)
        done.set()
        assert sum(await asyncio.gather(*clients)) == sum(answered.values())
        await stopped(staying, second)

    run(main())


def test_a_client_that_comes_late_has_time_for_its_handshake(run: Run, tmp_path: Path) -> None:
    """Where nobody else would accept, clients come for as long as a request runs, however long that is."""
    gate = Gate(hello)

    async def main() -> None:
        sock = member()
        server = Server(Config(app=App(gate), timeout_drain_idle=0.2, **Site(tmp_path).options))
        server.own_surroundings = ReusedPort()
        await server.startup([sock])
        running = await Peer.connect(sock, client_context())
        running.send(get())
        await until(lambda: server.own_runtime.cycles)
        server.should_exit = True
        stopping = asyncio.ensure_future(server.shutdown())
        await asyncio.sleep(1.2)
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(received, sent, server_hostname="localhost")
        late = await Peer.connect(sock)
        # It is accepted, and takes its time.
        await asyncio.sleep(0.4)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        late.send(sent.read())
        received.write(await late.reader.read(65536))
        tls.do_handshake()
        gate.open()
        assert (await running.response()).status == 200
        await stopping
        sock.close()

    run(main())


def test_while_one_leaves_the_first_of_the_group_gets_what_comes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to send a SYN again, and afterwards connections are spread over the group."""
    monkeypatch.setattr(acceptor, "kernel_migrates", lambda: False)
    monkeypatch.setattr(acceptor, "SETTLE_SECONDS", 0.5)

    async def main() -> None:
        kept = member()
        kept.listen()
        address = kept.getsockname()
        leaving, staying = member(address[1]), member(address[1])
        first, second = Server(Config(app=hello, lifespan="off")), Server(Config(app=hello, lifespan="off"))
        first.own_surroundings, second.own_surroundings = ReusedPort(kept), ReusedPort(kept)
        await first.startup([leaving])
        await second.startup([staying])
        leaving.close()
        first.should_exit = True
        stopping = asyncio.ensure_future(first.shutdown())
        await asyncio.sleep(0)
        asked = 0
        while not stopping.done():
            peer = await Peer.connect(kept)
            assert syns_sent_again(peer) == 0
            assert (await peer.ask(get("/", "Connection: close"))).status == 200
            asked += 1
        assert asked
        await stopping
        assert staying.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        # None of those of now is for a socket that is gone, and not all of them are for the first.
        kept.setblocking(False)
        second.own_acceptor._pause()
        clients = [socket.create_connection(address) for _ in range(40)]
        own = 0
        staying.setblocking(False)
        for sock in (staying, kept):
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                own += sock is staying
        assert 0 < own < 40
        for client in clients:
            client.close()
        second.force_exit = True
        await second.shutdown()
        for sock in (staying, kept):
            sock.close()

    run(main())


def test_the_kernel_is_asked_in_vain(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        reuse_port.spread_by_hash(sock)
        assert not reuse_port.steer_to_first(sock)


def test_a_handshake_under_way_comes_to_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel repeats its half of the handshake after a second.
    monkeypatch.setattr(acceptor, "SETTLE_SECONDS", 1.8)

    async def main() -> None:
        sock = member()
        server = await started(sock, App())
        client = socket.socket()
        client.setblocking(False)
        deafen(client)
        connecting = asyncio.ensure_future(asyncio.get_running_loop().sock_connect(client, sock.getsockname()))
        await asyncio.sleep(0.05)
        stopping = asyncio.ensure_future(stopped(server, sock))
        await asyncio.sleep(0.05)
        assert not connecting.done()
        client.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        await connecting
        peer = Peer(*await asyncio.open_connection(sock=client))
        assert (await peer.ask(get())).closes
        await stopping

    run(main())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_new_handshakes_go_elsewhere(family: int) -> None:
    try:
        listener = member(family=family)
    except OSError:
        pytest.skip("there is no IPv6 here")
    listener.listen()
    before = socket.create_connection(listener.getsockname()[:2])
    assert reuse_port.refuse_handshakes(listener)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname()[:2], timeout=0.1)
    accepted, _ = listener.accept()
    before.send(b"goes on")
    assert accepted.recv(7) == b"goes on"
    for sock in (listener, before, accepted):
        sock.close()


def test_a_socket_that_takes_no_filter(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert not reuse_port.refuse_handshakes(sock)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, 44, 1)  # SO_LOCK_FILTER
        assert not reuse_port.refuse_handshakes(sock)


@pytest.mark.parametrize(("text", "migrates"), [("1\n", True), ("0\n", False), (None, False)])
def test_what_the_kernel_does_is_asked(
    text: str | None, migrates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tcp_migrate_req"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(reuse_port, "_MIGRATES", path)
    assert reuse_port.kernel_migrates() is migrates


def test_where_it_migrates_nothing_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "kernel_migrates", lambda: True)
    monkeypatch.setattr(acceptor, "SETTLE_SECONDS", 60)

    async def main() -> None:
        sock = member()
        server = await started(sock, App())
        peer = await Peer.connect(sock)
        await peer.ask(get())
        await stopped(server, sock)
        assert await peer.rest() == b""

    run(main())
