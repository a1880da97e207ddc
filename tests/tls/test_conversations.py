"""Conversations by chance over our transport of TLS: what was sent arrives, whole and in order, and ends as was said.

The client's records and the pieces in which they come are of any size. The protocol writes, pauses, closes and changes
to a buffer and back when it has had so many bytes.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Site
from tests.tls.test_transport import Scripted, Told, ToldByBuffer, scripted

SIZES = (1, 5, 100, 1000, 16384, 16385, 40000, 70000)
PIECES = (1_000_000, 1_000_000, 65536, 16389, 1000, 7)
ENDS = ("close_notify", "close_notify", "end", "close_notify and end", "close_notify and garbage", "garbage", "nothing")
EACH = 8


class Acts(Told):
    """Does what is planned when it has had so many bytes."""

    def __init__(self, plan: list[tuple[int, str, int]]) -> None:
        super().__init__()
        self.plan = plan
        self.written = bytearray()
        self.closed = ""
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.act()

    def data_received(self, data: bytes) -> None:
        assert data
        assert not any((self.lost, self.eofs, self.closed, self.paused))
        super().data_received(data)
        self.act()

    def act(self) -> None:
        transport = self.transport
        while self.plan and len(self.data) >= self.plan[0][0]:
            _, what, size = self.plan.pop(0)
            if what in ("write", "writelines"):
                data = bytes([len(self.written) % 251]) * size
                if not transport.is_closing():
                    self.written += data
                transport.write(data) if what == "write" else transport.writelines([data[:9], b"", data[9:]])
            elif what == "pause":
                self.paused = True
                transport.pause_reading()
                self.wait(size % 5)
            elif what == "buffer":
                transport.set_protocol(ToldByBuffer(self, size))
            elif what == "plain":
                transport.set_protocol(self)
            else:
                self.closed = self.closed or what
                getattr(transport, what)()

    def wait(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self.wait, turns - 1)
        else:
            self.paused = False
            self.transport.resume_reading()


def plan_of(chance: random.Random, total: int) -> list[tuple[int, str, int]]:
    kinds = ["write", "write", "writelines", "pause", "pause", "buffer", "plain"]
    plan = [(chance.randint(0, total), chance.choice(kinds), chance.choice(SIZES)) for _ in range(chance.randrange(7))]
    if total and chance.random() < 0.5:
        plan.append((chance.randint(1, total), chance.choice(["close", "close", "abort"]), 0))
    return sorted(plan, key=lambda each: each[0])


async def arrive(peer: Scripted, chance: random.Random, data: bytes, size: int) -> None:
    """In pieces of a size, with turns of the loop in between or not."""
    size = size if len(data) < 50_000 else max(size, 1000)
    for at in range(0, len(data), size):
        peer.below.deliver(data[at : at + size])
        if chance.random() < 0.1:
            await asyncio.sleep(0)


async def converse(context: ssl.SSLContext, chance: random.Random) -> None:
    said = [bytes([chance.randrange(256)]) * chance.choice(SIZES) for _ in range(chance.randrange(7))]
    record = chance.choice(SIZES[2:])
    size, end, together = chance.choice(PIECES), chance.choice(ENDS), chance.random() < 0.5
    total = sum(map(len, said))
    told = Acts(plan_of(chance, total))
    version = chance.choice([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    peer = Scripted(context, told, asyncio.get_running_loop(), maximum_version=version).connect()
    # The last of the handshake, which the first request comes along with.
    waiting = peer.outgoing.read()
    for piece in said:
        waiting += peer.records(*[piece[at : at + record] for at in range(0, len(piece), record)])
        if not together:
            await arrive(peer, chance, waiting, size)
            waiting = b""
    # OpenSSL throws away what has come and was not read when it ends its side.
    peer.take(peer.written())
    waiting += peer.close_notify() if "close_notify" in end else b""
    waiting += b"x" * 100 if "garbage" in end else b""
    await arrive(peer, chance, waiting, size)
    if end.endswith("end"):
        peer.below.deliver(None)
    for _ in range(50):
        await asyncio.sleep(0)
    if end == "nothing":
        assert told.closed or not told.transport.is_closing()
        told.transport.close()
    peer.take(peer.written())
    if not peer.below.is_closing():
        peer.below.deliver(peer.close_notify())
    await told.ended.wait()
    assert b"".join(said).startswith(told.data)
    assert len(told.lost) == 1
    check(told, peer, end, total)


def check(told: Acts, peer: Scripted, end: str, total: int) -> None:
    if not told.closed:
        assert len(told.data) == total
        assert told.eofs == (end not in ("garbage", "nothing"))
    if end == "garbage":
        # What was still to be written then could not be.
        assert bytes(told.written).startswith(peer.data)
        assert told.closed or isinstance(told.lost[0], ssl.SSLError)
        return
    assert bytes(peer.data) == told.written
    assert peer.end == ("" if told.closed == "abort" else "close_notify")
    assert told.lost == [None]


@pytest.mark.parametrize("seed", range(12))
def test_what_was_sent_arrives(tmp_path: Path, seed: int) -> None:
    site = Site(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(site.cert, site.key)
    faults: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        for each in range(EACH):
            await converse(context, random.Random(seed * EACH + each))

    scripted(main)
    assert faults == []
