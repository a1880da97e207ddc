"""The header of the PROXY protocol, and how it is read from a socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.proxies.proxy_headers import SIGNATURE, checked, tlv, v1, v2, v2_unix
from tests.sockets import Run
from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.proxies.proxy_protocol import ProxyHeaderError, crc32c, parse_proxy_header, receive_endpoints
from uvicorn_worker.proxies.trust import Trust

CLIENT, SERVER = ("203.0.113.5", 50123), ("10.0.0.9", 443)
V6 = ("2001:db8::5", "2001:db8::9")
OVER_TLS = tlv(0x20, b"\x05\0\0\0\0" + tlv(0x21, b"TLSv1.3"))
LONGEST_V1 = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"

# A header, and what it tells; None: the addresses of the socket count.
GOOD: dict[str, tuple[bytes, Endpoints | None]] = {
    "v1": (v1(), Endpoints(CLIENT, SERVER)),
    "v1, IPv6": (v1(*V6), Endpoints((V6[0], 50123), (V6[1], 443))),
    "v1, ports": (v1(ports="0 65535"), Endpoints(("203.0.113.5", 0), ("10.0.0.9", 65535))),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1, unknown with addresses": (LONGEST_V1, None),
    "v2": (v2(), Endpoints(CLIENT, SERVER)),
    "v2, IPv6": (v2(*V6), Endpoints((V6[0], 50123), (V6[1], 443))),
    "v2, unix": (v2_unix(b"/client", b"/server\xff"), Endpoints(None, ("/server\udcff", None))),
    "v2, unix, no names": (v2_unix(b"", b"a" * 108), Endpoints(None, ("a" * 108, None))),
    "v2, local": (v2(command=0x20), None),
    "v2, local of any kind": (SIGNATURE + b"\x20\xff\0\x03abc", None),
    "v2, unspecified": (v2(family=0), None),
    "v2, unspecified, empty": (SIGNATURE + b"\x21\0\0\0", None),
    "v2, TLVs": (v2(tlvs=tlv(1, b"h2") + tlv(0xEA, b"x" * 300) + tlv(4, b"")), Endpoints(CLIENT, SERVER)),
    "v2, over TLS": (v2(tlvs=tlv(2, b"example.org") + OVER_TLS), Endpoints(CLIENT, SERVER, True)),
    "v2, not over TLS": (v2(tlvs=tlv(0x20, b"\0\0\0\0\0")), Endpoints(CLIENT, SERVER)),
    "v2, nothing of TLS": (v2(tlvs=tlv(0x20, b"")), Endpoints(CLIENT, SERVER)),
    "v2, checksum": (checked(v2()), Endpoints(CLIENT, SERVER)),
    "v2, checksum and more": (checked(v2(*V6, tlvs=OVER_TLS)), Endpoints((V6[0], 50123), (V6[1], 443), True)),
    "v2, long": (v2(tlvs=tlv(0xEA, b"x" * 16000)), Endpoints(CLIENT, SERVER)),
}
BAD: dict[str, bytes] = {
    "a request": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x02\0",
    "lower case": b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
    "v1, no kind": b"PROXY \r\n",
    "v1, another kind": b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
    "v1, a word too few": b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
    "v1, a word too many": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
    "v1, two spaces": b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
    "v1, the other family": b"PROXY TCP4 ::1 ::1 1 1\r\n",
    "v1, the other family too": b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
    "v1, no address": b"PROXY TCP4 example.org 1.1.1.1 1 1\r\n",
    "v1, not ASCII": b"PROXY TCP4 \xe9.1.1.1 1.1.1.1 1 1\r\n",
    "v1, NUL": b"PROXY TCP4 1.1.1.1\0 1.1.1.1 1 1\r\n",
    "v1, a port with a zero": b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
    "v1, a port with a sign": b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
    "v1, a large port": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
    "v1, a huge port": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 99999999\r\n",
    "v1, no port": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n",
    "v1, a bare LF": b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n",
    "v1, too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v2, version 1": SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
    "v2, another command": v2(command=0x22),
    "v2, UDP": v2(family=0x12),
    "v2, no transport": v2(family=0x10),
    "v2, another family": v2(family=0x41),
    "v2, addresses cut off": SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
    "v2, addresses of IPv4 for IPv6": v2(family=0x21),
    "v2, a TLV cut off": v2(tlvs=tlv(1, b"h2")[:-1]),
    "v2, the head of a TLV cut off": v2(tlvs=b"\x01\0"),
    "v2, a wrong checksum": checked(v2())[:-1] + b"?",
    "v2, a checksum of another size": v2(tlvs=tlv(3, b"abc")),
    "v2, too long": SIGNATURE + b"\x20\0" + struct.pack("!H", 16384 - 15),
}


class TestParser:
    @pytest.mark.parametrize(("header", "endpoints"), GOOD.values(), ids=GOOD)
    def test_good(self, header: bytes, endpoints: Any) -> None:
        for behind in (b"", b"G", b"\r\n", b"PROXY ", SIGNATURE, bytes(100_000)):
            assert parse_proxy_header(header + behind, "auto") == (endpoints, len(header))
        for end in range(len(header)):
            assert parse_proxy_header(header[:end], "auto") is None

    @pytest.mark.parametrize("header", BAD.values(), ids=BAD)
    def test_bad(self, header: bytes) -> None:
        """What makes it bad is seen when it is there, and never waited behind."""
        for behind in (b"", b"\r\n", bytes(100_000)):
            with pytest.raises(ProxyHeaderError):
                parse_proxy_header(header + behind, "auto")

    @pytest.mark.parametrize(
        ("mode", "header", "fine"),
        [("v1", v1(), True), ("v1", v2(), False), ("v2", v2(), True), ("v2", v1(), False)],
    )
    def test_modes(self, mode: str, header: bytes, fine: bool) -> None:
        if fine:
            assert parse_proxy_header(header, mode) == (Endpoints(CLIENT, SERVER), len(header))
        else:
            with pytest.raises(ProxyHeaderError, match="does not begin"):
                parse_proxy_header(header[:1], mode)

    def test_the_checksum_is_that_of_the_rfc(self) -> None:
        """RFC 3720, B.4."""
        assert crc32c(bytes(32)) == 0x8A9136AA
        assert crc32c(b"\xff" * 32) == 0x62A8AB43
        assert crc32c(bytes(range(32))) == 0x46DD794E


class Pair:
    """Both ends of a connection, the accepted one as the acceptor has it."""

    def __init__(self, **options: Any) -> None:
        config = Config(app=hello, **{"proxy_protocol": "auto", **options})
        self.runtime = Runtime(config, hello, asyncio.get_running_loop())
        self.trust = Trust(config.proxy_allow_ips)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.proxy = socket.create_connection(listener.getsockname())
            self.accepted, _ = listener.accept()
        self.accepted.setblocking(False)

    async def __aenter__(self) -> Pair:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.proxy.close()
        self.accepted.close()

    async def receive(self) -> Endpoints | None:
        return await receive_endpoints(self.runtime, self.accepted, self.trust)

    @property
    def own(self) -> Endpoints:
        return Endpoints(self.proxy.getsockname(), self.proxy.getpeername())

    @property
    def closed(self) -> bool:
        return self.accepted.fileno() < 0

    async def rest(self, size: int) -> bytes:
        """What was left in the socket."""
        return await self.runtime.loop.sock_recv(self.accepted, size)


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0.005)


class TestReading:
    @pytest.mark.parametrize("name", ["v1", "v1, unknown", "v2", "v2, local", "v2, checksum and more", "v2, long"])
    def test_nothing_is_taken_of_what_is_behind(self, run: Run, name: str) -> None:
        header, endpoints = GOOD[name]

        async def main() -> None:
            async with Pair() as pair:
                pair.proxy.sendall(header + b"GET / HTTP/1.1")
                assert await pair.receive() == (endpoints or pair.own)
                assert await pair.rest(100) == b"GET / HTTP/1.1"
                assert not pair.runtime.connections

        run(main())

    @pytest.mark.parametrize("header", [v1(*V6), checked(v2(tlvs=OVER_TLS))])
    def test_byte_by_byte(self, run: Run, header: bytes) -> None:
        async def main() -> None:
            async with Pair() as pair:
                pair.proxy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.ensure_future(pair.receive())
                for byte in header[:-1]:
                    pair.proxy.send(bytes([byte]))
                    await asyncio.sleep(0)
                await turns()
                assert not task.done()
                # The loop waits for the rest, and does not turn for what it has seen.
                assert len(pair.runtime.connections) == 1
                pair.proxy.sendall(header[-1:] + b"\x16\x03")
                assert await task == parse_proxy_header(header, "auto")[0]  # type: ignore[index]  # it is whole
                assert await pair.rest(9) == b"\x16\x03"
                assert not pair.runtime.connections

        run(main())

    @pytest.mark.parametrize(
        ("data", "reason"),
        [(b"GET / HTTP/1.1\r\n", "does not begin with a header"), (b"PROXY TCP4 x\r\n", "malformed")],
    )
    def test_anything_else_closes_the_connection(self, run: Run, caplog: Any, data: bytes, reason: str) -> None:
        async def main() -> None:
            async with Pair() as pair:
                pair.proxy.sendall(data)
                assert await pair.receive() is None
                assert pair.closed

        run(main())
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("Connection from 127.0.0.1:")
        assert reason in record.getMessage()

    def test_only_proxies_may_send_it(self, run: Run, caplog: Any) -> None:
        async def main() -> None:
            async with Pair(proxy_allow_ips="10.0.0.0/8") as pair:
                pair.proxy.sendall(v1())
                assert await pair.receive() is None
                assert pair.closed

        run(main())
        assert "its address is not in proxy_allow_ips" in caplog.text

    def test_one_that_leaves_within_the_header(self, run: Run, caplog: Any) -> None:
        async def main() -> None:
            async with Pair() as pair:
                task = asyncio.ensure_future(pair.receive())
                pair.proxy.sendall(b"PROXY ")
                await turns()
                pair.proxy.close()
                assert await task is None
                assert pair.closed

        run(main())
        assert "ended within the header" in caplog.text

    @pytest.mark.parametrize("how", ["end", "reset"])
    def test_one_that_leaves_without_a_word_is_no_news(self, run: Run, caplog: Any, how: str) -> None:
        """So do health checks."""

        async def main() -> None:
            async with Pair() as pair:
                if how == "reset":
                    pair.proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                pair.proxy.close()
                assert await pair.receive() is None
                assert pair.closed

        run(main())
        assert not caplog.records

    @pytest.mark.parametrize(("data", "logged"), [(b"", False), (v2()[:20], True)])
    def test_the_deadline(self, run: Run, caplog: Any, data: bytes, logged: bool) -> None:
        async def main() -> None:
            async with Pair(timeout_request_head=3) as pair:
                task = asyncio.ensure_future(pair.receive())
                pair.proxy.sendall(data)
                await turns()
                (connection,) = pair.runtime.connections
                connection.on_tick(5)
                connection.drain()
                await turns()
                assert not task.done()
                connection.on_tick(7)
                assert await task is None
                assert pair.closed

        run(main())
        assert ("did not arrive in time" in caplog.text) is logged

    @pytest.mark.parametrize("data", [b"", b"PROXY"])
    def test_a_stop_closes_what_has_not_begun(self, run: Run, data: bytes) -> None:
        async def main() -> None:
            async with Pair() as pair:
                task = asyncio.ensure_future(pair.receive())
                pair.proxy.sendall(data)
                await turns()
                (connection,) = pair.runtime.connections
                connection.close_if_idle()
                await turns()
                assert task.done() is not bool(data)
                connection.abort()
                connection.abort()
                assert await task is None
                assert pair.closed

        run(main())

    def test_cancelled(self, run: Run) -> None:
        async def main() -> None:
            async with Pair() as pair:
                task = asyncio.ensure_future(pair.receive())
                await turns()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert pair.closed
                assert not pair.runtime.connections

        run(main())
