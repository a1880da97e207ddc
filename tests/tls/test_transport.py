"""Our transport of TLS beside those of the event loops: what a protocol is told, and what its client sees."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import ssl
import struct
import sys
import weakref
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.certificates import Site, client_context
from tests.cost.counting import MOST, calls_of
from tests.scripted import ScriptedTransport
from tests.sockets import PATIENCE, Run
from uvicorn_worker.core.kernel import is_uvloop
from uvicorn_worker.tls import transport as module
from uvicorn_worker.tls.transport import MOST_UNHEARD, PIECE_SIZE, RECORD_SIZE, TlsTransport

# Python 3.10 does not mark the transport as closed where the client said close_notify first.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A server's."""
    site = Site(tmp_path)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(site.cert, site.key)
    return made


class Told(asyncio.Protocol):
    """A protocol that notes what it is told."""

    transport: asyncio.Transport

    def __init__(self, on_data: Callable[[Told], None] | None = None) -> None:
        self.data = bytearray()
        self.calls = self.eofs = 0
        self.writing: list[str] = []
        self.lost: list[Exception | None] = []
        self.on_data = on_data
        self.made, self.ended = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.made.set()

    def data_received(self, data: bytes) -> None:
        self.calls += 1
        self.data += data
        if self.on_data is not None:
            self.on_data(self)

    def eof_received(self) -> bool:
        # The loops tell it of a client that answers their close, too.
        self.eofs += not self.transport.is_closing()
        return False

    def pause_writing(self) -> None:
        self.writing.append("pause")

    def resume_writing(self) -> None:
        self.writing.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.ended.set()


class ToldByBuffer(asyncio.BufferedProtocol):
    """The same with a buffer of its own, which is smaller than a record."""

    def __init__(self, to: Told, size: int = 1000) -> None:
        self.to = to
        # As a view: asyncio's TLS reads into slices of it, and those of a bytearray are copies.
        self.buffer = memoryview(bytearray(size))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.to.data_received(bytes(self.buffer[:nbytes]))

    def eof_received(self) -> bool:
        return self.to.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.to.connection_lost(exc)


class TlsPeer:
    """The client's side without a transport: what is sent, and in which pieces, is for the test to say."""

    def __init__(self, client: ssl.SSLContext | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client or client_context()
        self.tls = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.data = bytearray()
        self.end = ""

    def shake(self) -> bool:
        """Go on with the handshake; whether it is over for the client."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def records(self, *pieces: bytes) -> bytes:
        for piece in pieces:
            self.tls.write(piece)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self.outgoing.read()

    def take(self, data: bytes) -> None:
        """Read what has come."""
        self.incoming.write(data)
        while not self.end:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as exc:
                self.end = exc.reason or "error"
                return
            self.data += data
            if not data:
                self.end = "close_notify"


class Client(TlsPeer):
    """One on a socket."""

    def __init__(self, sock: socket.socket, client: ssl.SSLContext | None = None) -> None:
        super().__init__(client)
        self.sock = sock
        self.loop = asyncio.get_running_loop()

    async def handshake(self, each: int = 0) -> None:
        while not self.shake():
            await self.send(self.outgoing.read(), each)
            self.incoming.write(await self.loop.sock_recv(self.sock, 65536))
        await self.send(self.outgoing.read(), each)

    async def send(self, data: bytes, each: int = 0) -> None:
        for at in range(0, len(data), each or len(data) or 1):
            await self.loop.sock_sendall(self.sock, data[at : at + (each or len(data))])
            if each:
                await asyncio.sleep(0)

    async def read(self, size: int = sys.maxsize) -> bytes:
        """What comes until there is so much of it, or the end, which `end` tells."""
        while len(self.data) < size and not self.end:
            try:
                data = await self.loop.sock_recv(self.sock, 65536)
            except ConnectionError:
                self.end = "reset"
                break
            if not data:
                self.end = "cut"
                break
            self.take(data)
        return bytes(self.data)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Actions = Callable[[Client, Told], Awaitable[None]]


async def meet(
    ours: bool, context: ssl.SSLContext, told: Told, actions: Actions | None, client: ssl.SSLContext | None = None
) -> Client:
    """A client that does so, once it has ended, and so has `told`, whose transport is ours or the loop's."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        mine, _ = listener.accept()
    theirs.setblocking(False)
    mine.setblocking(False)
    peer = Client(theirs, client)
    failed: list[BaseException | None] = []
    with theirs:
        if ours:
            contexts: Any = SimpleNamespace(context=context)
            secured = TlsTransport(loop, contexts, lambda: told, lambda _, exc: failed.append(exc))
            await loop.connect_accepted_socket(lambda: secured, mine)
            connecting = None
        else:
            connecting = loop.create_task(loop.connect_accepted_socket(lambda: told, mine, ssl=context))
        try:
            await peer.handshake()
            await told.made.wait()
            if actions is not None:
                await actions(peer, told)
            if theirs.fileno() >= 0:
                await peer.read()
                with contextlib.suppress(OSError):
                    await peer.send(peer.close_notify())
        finally:
            theirs.close()
            if connecting is not None:
                await connecting
        await told.ended.wait()
    return peer


Outcome = tuple[bytes, int, list[Any], bytes, str]

# asyncio's TLS is uvloop's from Python 3.11 on. The one before it is no reference: it cuts who has sent close_notify,
# and fails where reading is paused.
WITHOUT_UVLOOPS = tuple(sys.version_info) < (3, 11)


def compare(
    run: Run,
    context: ssl.SSLContext,
    make: Callable[[], Told],
    actions: Actions | None,
    client: Callable[[], ssl.SSLContext] = client_context,
    alerts: Collection[str] = (),
) -> Outcome:
    """The outcome, which is the same with the loop's own transport and with ours; of `alerts` a client is told one."""
    outcomes: list[Outcome] = []

    async def main(ours: bool) -> None:
        if not ours and WITHOUT_UVLOOPS and not is_uvloop(asyncio.get_running_loop()):
            return
        told = make()
        peer = await meet(ours, context, told, actions, client())
        outcomes.append((bytes(told.data), told.eofs, list(map(type, told.lost)), bytes(peer.data), peer.end))

    for of_ours in (False, True):
        run(main(of_ours))
    *theirs, ours = outcomes
    if alerts:
        assert ours[-1] in alerts
        theirs = [(*each[:-1], ours[-1]) for each in theirs]
    for each in theirs:
        assert ours == each
    return ours


def answer_and_close(told: Told) -> None:
    """To a question of five bytes."""
    if len(told.data) >= 5:
        told.transport.write(b"answer")
        told.transport.close()


class TestAsTheLoops:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("each", [0, 1])
    def test_question_and_answer(self, run: Run, context: ssl.SSLContext, version: ssl.TLSVersion, each: int) -> None:
        async def ask(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"as", b"k me"), each)

        outcome = compare(
            run, context, lambda: Told(answer_and_close), ask, lambda: client_context(maximum_version=version)
        )
        assert outcome[2:] == ([type(None)], b"answer", "close_notify")

    def test_a_handshake_with_another_round(self, run: Run, context: ssl.SSLContext) -> None:
        # None that the client begins with.
        context.set_ecdh_curve("secp384r1")

        async def ask(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"ask me"))

        assert compare(run, context, lambda: Told(answer_and_close), ask)[3:] == (b"answer", "close_notify")

    def test_close_notify_comes_with_the_last_bytes(self, run: Run, context: ssl.SSLContext) -> None:
        async def say(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"last words") + peer.close_notify())

        outcome = compare(run, context, Told, say)
        assert outcome[:3] == (b"last words", 1, [type(None)])

    def test_an_end_without_close_notify(self, run: Run, context: ssl.SSLContext) -> None:
        async def end(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"half a body"))
            peer.sock.shutdown(socket.SHUT_WR)

        told = [Told(), Told()]
        for mine, each in enumerate(told):
            run(meet(bool(mine), context, each, end))
            assert (bytes(each.data), each.lost) == (b"half a body", [None])
        # uvloop tells of it when it has closed the connection.
        assert told[1].eofs == 1

    def test_a_reset(self, run: Run, context: ssl.SSLContext) -> None:
        async def leave(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"half a body"))
            while not told.data:
                await asyncio.sleep(0.001)
            peer.reset()

        assert compare(run, context, Told, leave)[:2] == (b"half a body", 0)

    def test_what_is_no_tls(self, run: Run, context: ssl.SSLContext) -> None:
        async def babble(peer: Client, told: Told) -> None:
            await peer.send(b"GET / HTTP/1.1\r\n\r\n")
            await told.ended.wait()

        # The second is OpenSSL 3.6's.
        alerts = "TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_UNEXPECTED_MESSAGE"
        outcome = compare(run, context, Told, babble, alerts=alerts)
        assert outcome[0] == b""
        (lost,) = outcome[2]
        assert issubclass(lost, ssl.SSLError)

    @pytest.mark.parametrize("size", [1, 100, 5000, 20000])
    def test_many_records(self, run: Run, context: ssl.SSLContext, size: int) -> None:
        data = MEGABYTE[: min(size * 2000, len(MEGABYTE))]
        pieces = [data[at : at + size] for at in range(0, len(data), size)]

        async def send(peer: Client, told: Told) -> None:
            await peer.send(peer.records(*pieces) + peer.close_notify())

        assert compare(run, context, Told, send)[:3] == (data, 1, [type(None)])

    def test_a_protocol_with_a_buffer(self, run: Run, context: ssl.SSLContext) -> None:
        def change(told: Told) -> None:
            """To a buffer and back."""
            if told.calls == 2:
                told.transport.set_protocol(ToldByBuffer(told))
            elif told.calls == 200:
                told.transport.set_protocol(told)

        async def send(peer: Client, told: Told) -> None:
            for at in range(0, len(MEGABYTE), 40000):
                await peer.send(peer.records(MEGABYTE[at : at + 40000]))
            await peer.send(peer.close_notify())

        assert compare(run, context, lambda: Told(change), send)[:3] == (MEGABYTE, 1, [type(None)])

    @pytest.mark.parametrize("buffered", [False, True])
    def test_reading_is_paused(self, run: Run, context: ssl.SSLContext, buffered: bool) -> None:
        def pause(told: Told) -> None:
            if buffered and told.calls == 1:
                told.transport.set_protocol(ToldByBuffer(told, 5000))
            told.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, told.transport.resume_reading)

        async def send(peer: Client, told: Told) -> None:
            await peer.send(peer.records(MEGABYTE[:300_000]) + peer.close_notify())

        assert compare(run, context, lambda: Told(pause), send)[:3] == (MEGABYTE[:300_000], 1, [type(None)])

    def test_closed_while_reading_is_paused(self, run: Run, context: ssl.SSLContext) -> None:
        def pause_and_close(told: Told) -> None:
            told.transport.pause_reading()
            told.transport.write(b"answer")
            told.transport.close()

        async def send(peer: Client, told: Told) -> None:
            await peer.send(peer.records(MEGABYTE[:1000]))
            await peer.send(peer.records(MEGABYTE[:1000]))

        # The loops' own take for an error what comes behind their close_notify.
        told = Told(pause_and_close)
        peer = run(meet(True, context, told, send))
        assert (told.lost, bytes(peer.data), peer.end) == ([None], b"answer", "close_notify")

    def test_a_client_that_goes_on_sending_sees_the_answer(self, run: Run, context: ssl.SSLContext) -> None:
        async def send(peer: Client, told: Told) -> None:
            for _ in range(20):
                await peer.send(peer.records(MEGABYTE[:50000]))
                await asyncio.sleep(0)

        # asyncio's own cuts it.
        told = Told(answer_and_close)
        peer = run(meet(True, context, told, send))
        assert (told.lost, bytes(peer.data), peer.end) == ([None], b"answer", "close_notify")

    def test_nothing_is_written_behind_the_close(self, run: Run, context: ssl.SSLContext) -> None:
        def close_and_write(told: Told) -> None:
            told.transport.write(b"")
            told.transport.writelines([b"ans", b"", b"wer"])
            told.transport.close()
            assert told.transport.is_closing()
            told.transport.write(b"too late")
            told.transport.writelines([b"too late"])
            told.transport.pause_reading()
            told.transport.close()

        async def ask(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"ask me"))

        assert compare(run, context, lambda: Told(close_and_write), ask)[3:] == (b"answer", "close_notify")

    def test_aborted(self, run: Run, context: ssl.SSLContext) -> None:
        def abort(told: Told) -> None:
            told.transport.abort()
            assert told.transport.is_closing()
            told.transport.write(b"too late")
            told.transport.close()

        async def ask(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"ask me"))

        assert compare(run, context, lambda: Told(abort), ask)[2:4] == ([type(None)], b"")

    def test_large_writes_wait_for_a_client_that_reads_slowly(self, run: Run, context: ssl.SSLContext) -> None:
        size = 20 * len(MEGABYTE)

        def write(told: Told) -> None:
            told.transport.set_write_buffer_limits(high=100_000)
            told.transport.write(MEGABYTE * 10)
            told.transport.writelines([MEGABYTE] * 10)
            assert told.writing == ["pause"]
            assert told.transport.get_write_buffer_size() > 100_000

        async def read(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"ask me"))
            assert await peer.read(size) == MEGABYTE * 20
            while told.writing != ["pause", "resume"]:
                await asyncio.sleep(0.001)
            told.transport.close()

        outcome = compare(run, context, lambda: Told(write), read)
        assert outcome[4] == "close_notify"

    def test_a_protocol_that_raises(self, run: Run, context: ssl.SSLContext) -> None:
        def fail(told: Told) -> None:
            raise KeyError

        async def ask(peer: Client, told: Told) -> None:
            loop = asyncio.get_running_loop()
            faults: list[dict[str, Any]] = []
            before = loop.get_exception_handler()
            loop.set_exception_handler(lambda _, context: faults.append(context))
            await peer.send(peer.records(b"ask me"))
            await told.ended.wait()
            loop.set_exception_handler(before)
            assert [type(fault["exception"]) for fault in faults] == [KeyError]

        assert compare(run, context, lambda: Told(fail), ask)[:4] == (b"ask me", 0, [KeyError], b"")

    def test_a_class_of_the_operators_is_asked(self, run: Run, context: ssl.SSLContext) -> None:
        """`sslobject_class`: its methods do what they are there for."""
        done: list[str] = []

        class Noted(ssl.SSLObject):
            def do_handshake(self) -> None:
                done.append("handshake")
                super().do_handshake()

            def read(self, *args: Any) -> Any:
                done.append("read")
                return super().read(*args)

            def write(self, data: Any) -> int:
                done.append("write")
                return super().write(data)

        context.sslobject_class = Noted

        async def ask(peer: Client, told: Told) -> None:
            done.append("asked")
            await peer.send(peer.records(b"ask me"))

        assert compare(run, context, lambda: Told(answer_and_close), ask)[3:] == (b"answer", "close_notify")
        ours = done[len(done) - done[::-1].index("asked") :]
        assert {"read", "write"} <= set(ours)

    def test_what_is_known_of_it(self, run: Run, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2", "http/1.1"])
        known: list[dict[str, Any]] = []

        def look(told: Told) -> None:
            get = told.transport.get_extra_info
            tls = get("ssl_object")
            known.append(
                {
                    "context": get("sslcontext") is tls.context is context,
                    "alpn": tls.selected_alpn_protocol(),
                    "version": tls.version(),
                    "eof": told.transport.can_write_eof(),
                    "reading": told.transport.is_reading(),
                    "socket": get("socket").family,
                    "none": get("nothing of it", 5),
                    "address": (get("peername")[0], get("sockname")[0]),
                    **{name: get(name) for name in ("peercert", "cipher", "compression")},
                }
            )
            assert told.transport.get_protocol() is told
            told.transport.close()

        async def ask(peer: Client, told: Told) -> None:
            await peer.send(peer.records(b"ask me"))

        def client() -> ssl.SSLContext:
            made = client_context()
            made.set_alpn_protocols(["h2"])
            return made

        compare(run, context, lambda: Told(look), ask, client)
        assert known[-1] == known[0]
        assert (known[0]["alpn"], known[0]["context"], known[0]["eof"]) == ("h2", True, False)


class Scripted(TlsPeer):
    """A client of our transport over one without a socket."""

    def __init__(
        self, context: ssl.SSLContext, told: Told | None, loop: asyncio.AbstractEventLoop, **versions: Any
    ) -> None:
        super().__init__(client_context(**versions))
        self.failed: list[BaseException | None] = []
        contexts: Any = SimpleNamespace(context=context)
        self.secured = TlsTransport(loop, contexts, lambda: told, lambda _, exc: self.failed.append(exc))
        self.below = ScriptedTransport(loop)
        self.below.set_protocol(self.secured)

    def connect(self) -> Scripted:
        """As far as the client's part of the handshake, which is still to be sent."""
        self.secured.connection_made(self.below)
        self.shake()
        self.below.deliver(self.outgoing.read())
        while not self.shake_on():
            self.below.deliver(self.outgoing.read())
        return self

    def shake_on(self) -> bool:
        self.incoming.write(self.written())
        return self.shake()

    def written(self) -> bytes:
        data = self.below.output
        self.below.writes.clear()
        return data

    def read(self) -> bytes:
        self.take(self.written())
        data = bytes(self.data)
        self.data.clear()
        return data


def scripted(test: Callable[[], Awaitable[None]]) -> None:
    """In a loop of asyncio."""
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


class TestBelow:
    def test_nothing_is_made_before_the_first_byte(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            peer = Scripted(context, Told(), asyncio.get_running_loop())
            peer.secured.connection_made(peer.below)
            assert peer.secured.get_extra_info("ssl_object") is None
            peer.shake()
            peer.below.deliver(peer.outgoing.read())
            assert peer.secured.get_extra_info("ssl_object") is not None
            peer.secured.cancel()

        scripted(main)

    def test_a_request_that_comes_along_gets_its_answer_with_the_tickets(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told(lambda told: told.transport.write(b"answer"))
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            assert peer.below.calls == ["write"]
            peer.below.deliver(peer.outgoing.read() + peer.records(b"ask me"))
            assert peer.below.calls == ["write"] * 2
            assert peer.read() == b"answer"
            await asyncio.sleep(0)
            assert peer.below.calls == ["write"] * 2
            peer.secured.abort()

        scripted(main)

    def test_without_a_request_the_tickets_leave_at_once(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            peer = Scripted(context, Told(), asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            assert peer.below.calls == ["write"] * 2
            peer.secured.abort()

        scripted(main)

    @pytest.mark.parametrize("behind", ["nothing", "close_notify", "garbage"])
    def test_a_last_answer_leaves_with_close_notify(self, context: ssl.SSLContext, behind: str) -> None:
        def answer(told: Told) -> None:
            told.transport.pause_reading()

        async def main() -> None:
            told = Told(answer)
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.below.calls.clear()
            peer.below.deliver(peer.records(b"ask me"))
            if behind != "nothing":
                # In the same moment: it was read although reading was paused.
                peer.secured.data_received(peer.close_notify() if behind == "close_notify" else b"x" * 100)
            told.transport.hold()  # type: ignore[attr-defined]
            told.transport.write(b"answer")
            assert "write" not in peer.below.calls
            told.transport.close()
            assert peer.below.calls.count("write") == 1
            assert peer.read() == b"answer"
            if behind == "nothing":
                assert (peer.end, peer.below.is_closing()) == ("close_notify", False)
                peer.below.deliver(peer.close_notify())
            assert peer.below.is_closing()
            await told.ended.wait()

        scripted(main)

    @pytest.mark.parametrize("size", [1, RECORD_SIZE, RECORD_SIZE + 1, PIECE_SIZE, PIECE_SIZE + 1, 10 * PIECE_SIZE])
    def test_each_call_to_write_is_one_below(self, context: ssl.SSLContext, size: int) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.read()
            peer.below.calls.clear()
            told.transport.write(MEGABYTE[:size])
            told.transport.writelines([MEGABYTE[: size // 2], b"", memoryview(MEGABYTE)[size // 2 : size]])
            assert len(peer.below.calls) == 2
            assert peer.read() == MEGABYTE[:size] * 2
            assert told.transport._outgoing.pending == 0  # type: ignore[attr-defined]
            told.transport.abort()

        scripted(main)

    def test_a_transport_that_forgets_to_pause_is_given_one_piece(
        self, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "can_writelines", lambda loop: False)

        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.below.calls.clear()
            peer.read()
            told.transport.write(MEGABYTE)
            assert peer.below.calls == ["write"]
            assert peer.read() == MEGABYTE
            told.transport.abort()

        scripted(main)

    def test_what_openssl_holds_is_bounded(self, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is given, and asked for, so much at once."""
        monkeypatch.setattr(module, "can_writelines", lambda loop: True)

        async def main() -> None:
            sizes: list[int] = []
            told = Told(lambda told: sizes.append(len(told.data) - sum(sizes)))
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.below.deliver(peer.records(MEGABYTE[:250_000]))
            assert told.data == MEGABYTE[:250_000]
            assert PIECE_SIZE // 2 < max(sizes) <= PIECE_SIZE + RECORD_SIZE
            pieces: list[bytes] = []
            monkeypatch.setattr(peer.below, "writelines", pieces.extend)
            told.transport.writelines([MEGABYTE, *[b"x" * 1000] * 1000])
            assert PIECE_SIZE < max(map(len, pieces)) < 2 * PIECE_SIZE + 1000
            told.transport.abort()

        scripted(main)

    @pytest.mark.parametrize("each", [1, None])
    def test_small_records_cost_what_they_hold(self, context: ssl.SSLContext, each: int | None) -> None:
        costs = []

        async def main() -> None:
            for size in (300, 600):
                told = Told()
                peer = Scripted(context, told, asyncio.get_running_loop()).connect()
                peer.below.deliver(peer.outgoing.read())
                data = peer.records(*[b"x"] * size)
                pieces = [data[at : at + (each or len(data))] for at in range(0, len(data), each or len(data))]
                costs.append(calls_of(lambda peer=peer, pieces=pieces: peer.below.deliver(*pieces)))  # type: ignore[misc]
                assert told.data == b"x" * size
                told.transport.abort()

        scripted(main)
        assert costs[1] <= costs[0] * MOST

    def test_nothing_is_told_behind_an_abort(self, context: ssl.SSLContext) -> None:
        """Of what was read in one piece."""

        async def main() -> None:
            told = Told(lambda told: told.transport.abort())
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.secured.data_received(peer.records(MEGABYTE[:200_000]))
            assert told.calls == 1
            assert len(told.data) <= PIECE_SIZE
            assert not told.transport.is_reading()
            await told.ended.wait()
            assert (told.eofs, told.lost) == (0, [None])

        scripted(main)

    def test_close_notify_is_seen_by_who_pauses_while_it_closes(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            told.transport.close()
            told.transport.pause_reading()
            peer.read()
            peer.below.deliver(peer.close_notify())
            assert peer.below.is_closing()
            await told.ended.wait()

        scripted(main)


class TestAnswersOfOpenssl:
    """Each change of keys that a client asks for has one; here they are put where OpenSSL puts them."""

    def asked(self, peer: Scripted, times: int) -> None:
        for _ in range(times):
            if not peer.below.is_closing():
                peer.secured._outgoing.write(b"x" * 1000)
                peer.below.deliver(peer.records(b"x"))

    def test_a_client_that_only_asks_is_cut(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.below.stall()
            self.asked(peer, 1000)
            await told.ended.wait()
            assert len(peer.below.output) < 3 * MOST_UNHEARD
            assert told.writing == ["pause"]

        scripted(main)

    def test_a_client_that_reads_is_not(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            self.asked(peer, 200)
            for _ in range(10):
                peer.below.stall()
                self.asked(peer, 100)
                peer.below.drain()
            assert len(told.data) == 1200
            assert not told.transport.is_closing()
            told.transport.abort()

        scripted(main)

    def test_a_client_that_takes_a_large_answer_slowly_is_not(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read())
            peer.below.stall()
            told.transport.write(MEGABYTE)
            self.asked(peer, 10)
            told.transport.pause_reading()
            peer.below.deliver(peer.records(b"x"))
            told.transport.resume_reading()
            await asyncio.sleep(0.01)
            assert not told.transport.is_closing()
            told.transport.abort()

        scripted(main)


class TestHandshake:
    def test_given_up_before_there_is_a_transport(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            peer = Scripted(context, Told(), asyncio.get_running_loop())
            peer.secured.cancel()
            peer.secured.cancel()
            assert list(map(type, peer.failed)) == [ConnectionAbortedError]
            peer.secured.connection_made(peer.below)
            assert peer.below.calls == ["abort"]
            await asyncio.sleep(0)
            assert len(peer.failed) == 1

        scripted(main)

    def test_given_up(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.secured.cancel(TimeoutError())
            assert list(map(type, peer.failed)) == [TimeoutError]
            assert peer.below.calls[-1] == "abort"
            await asyncio.sleep(0)
            assert not told.made.is_set()
            assert len(peer.failed) == 1

        scripted(main)

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", None])
    def test_it_fails(self, context: ssl.SSLContext, data: bytes | None) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop())
            peer.secured.connection_made(peer.below)
            peer.below.deliver(data)
            # The client, which has been told why, may send on; then it ends.
            peer.below.deliver(b"more of it", None)
            assert peer.below.is_closing()
            await asyncio.sleep(0)
            assert list(map(type, peer.failed)) in ([ssl.SSLError], [ConnectionResetError])
            assert not told.made.is_set()
            assert len(peer.failed) == 1

        scripted(main)

    def test_a_client_that_is_refused_reads_why(self, run: Run, context: ssl.SSLContext, tmp_path: Path) -> None:
        """Also where it sends its request first, as in TLS 1.3: a reset would make that fail."""
        context.load_verify_locations(Site(tmp_path).ca)
        context.verify_mode = ssl.CERT_REQUIRED

        async def send_on(peer: Client, told: Told) -> None:
            await peer.loop.run_in_executor(None, select.select, [peer.sock], [], [])
            for _ in range(3):
                await peer.send(peer.records(b"request"))
                await asyncio.sleep(0.01)

        async def main() -> str:
            told = Told()
            # It is never made.
            told.made.set()
            told.ended.set()
            client = client_context(minimum_version=ssl.TLSVersion.TLSv1_3)
            return (await meet(True, context, told, send_on, client)).end

        assert run(main()) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"

    @pytest.mark.parametrize("how", ["time", "cancel", "reset"])
    def test_a_client_that_was_refused_is_not_waited_for(
        self, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.setattr(module, "REFUSED_SECONDS", 0.01 if how == "time" else PATIENCE)

        def refuse() -> None:
            raise OSError

        async def main() -> None:
            peer = Scripted(context, Told(), asyncio.get_running_loop())
            peer.secured.connection_made(peer.below)
            if how == "reset":
                monkeypatch.setattr(peer.below, "write_eof", refuse)
            peer.below.deliver(b"GET / HTTP/1.1\r\n\r\n")
            assert peer.secured.is_closing()
            if how == "cancel":
                assert peer.below.calls == ["write_eof"]
                peer.secured.cancel()
            while not peer.below.lost:
                await asyncio.sleep(0.001)
            assert peer.below.calls[-1] == "abort"
            assert list(map(type, peer.failed)) == [ssl.SSLError]

        scripted(main)

    def test_there_is_no_protocol(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            peer = Scripted(context, None, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read() + peer.records(b"ask me"))
            assert peer.failed == [None]
            assert peer.below.calls[-1] == "abort"

        scripted(main)

    @pytest.mark.parametrize("how", ["close", "abort", "raise"])
    def test_a_protocol_that_ends_it_at_once(self, context: ssl.SSLContext, how: str) -> None:
        class Ends(Told):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if how == "raise":
                    raise KeyError
                getattr(self.transport, how)()

        async def main() -> None:
            faults: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            told = Ends()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            peer.below.deliver(peer.outgoing.read() + peer.records(b"ask me") + peer.close_notify())
            await told.ended.wait()
            assert (bytes(told.data), peer.failed) == (b"", [None])
            assert list(map(type, told.lost)) == [KeyError if how == "raise" else type(None)]
            assert len(faults) == (how == "raise")

        scripted(main)

    def test_it_is_told_when_the_connection_counts(self, context: ssl.SSLContext) -> None:
        """Before, there would seem to be room for another."""

        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop()).connect()
            made: list[bool] = []
            peer.secured._ended = lambda *_: made.append(told.made.is_set())
            peer.below.deliver(peer.outgoing.read())
            assert made == [True]
            told.transport.abort()

        scripted(main)


@pytest.mark.parametrize("end", ["close", "close_notify", "garbage", "garbage while paused", "raise", "no handshake"])
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="objects end at once in CPython alone")
def test_memory_is_freed_at_the_end(context: ssl.SSLContext, end: str) -> None:
    """Without a collection."""

    def act(told: Told) -> None:
        if end == "raise":
            raise KeyError
        if "paused" in end:
            told.transport.pause_reading()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        told = Told(act)
        peer = Scripted(context, told, asyncio.get_running_loop())
        if end == "no handshake":
            peer.secured.connection_made(peer.below)
            peer.below.deliver(b"nothing of TLS", None)
        else:
            peer.connect()
            peer.below.deliver(peer.outgoing.read())
            data = peer.records(b"ask me")
            peer.below.deliver(data + b"x" * 100 if "garbage" in end else data)
            if end == "close_notify":
                peer.below.deliver(peer.close_notify())
            elif "paused" in end:
                told.transport.resume_reading()
            elif end == "close":
                told.transport.close()
                peer.read()
                peer.below.deliver(peer.close_notify())
            await told.ended.wait()
        await asyncio.sleep(0.01)
        # The loops let go of the protocol; what it was told is its own.
        peer.below.set_protocol(cast("Any", None))
        del told.__dict__["lost"]
        with contextlib.suppress(AttributeError):
            del told.transport
        gone = weakref.ref(peer.secured)
        tls = weakref.ref(peer.secured._object)
        peer.secured = cast("Any", None)
        peer.failed.clear()
        assert gone() is None
        assert tls() is None

    gc.disable()
    try:
        scripted(main)
    finally:
        gc.enable()


class TestWhatIsRare:
    """On a scripted transport, after a handshake."""

    def met(
        self,
        context: ssl.SSLContext,
        actions: Callable[[Scripted, Told], Any],
        told: Told | None = None,
        buffered: ToldByBuffer | None = None,
    ) -> Told:
        told = told or Told()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda *_: None)
            peer = Scripted(context, told, loop).connect()
            peer.below.deliver(peer.outgoing.read())
            if buffered is not None:
                told.transport.set_protocol(buffered)
            actions(peer, told)
            await asyncio.sleep(0.01)

        scripted(main)
        return told

    @pytest.mark.parametrize("buffered", [False, True])
    @pytest.mark.parametrize("records", [0, 1, 3])
    def test_garbage_behind_records(self, context: ssl.SSLContext, records: int, buffered: bool) -> None:
        told = Told()
        self.met(
            context,
            lambda peer, _: peer.below.deliver(peer.records(*[b"whole"] * records) + b"x" * 100),
            told,
            ToldByBuffer(told) if buffered else None,
        )
        (lost,) = told.lost
        assert bytes(told.data) == b"whole" * records
        assert isinstance(lost, ssl.SSLError)

    @pytest.mark.parametrize("rest", [b"", b"x" * 100])
    def test_half_a_record_that_came_in_a_pause(self, context: ssl.SSLContext, rest: bytes) -> None:
        def act(peer: Scripted, told: Told) -> None:
            told.transport.pause_reading()
            half = peer.records(b"half")[:10]
            peer.secured.data_received(rest or half)
            told.transport.resume_reading()
            # A second time it means nothing.
            told.transport.resume_reading()

        told = self.met(context, act)
        assert (bytes(told.data), len(told.lost)) == (b"", bool(rest))

    @pytest.mark.parametrize("buffered", [False, True])
    def test_a_protocol_that_raises_at_several_records(self, context: ssl.SSLContext, buffered: bool) -> None:
        def fail(told: Told) -> None:
            raise KeyError(len(told.data))

        told = Told(fail)
        self.met(
            context,
            lambda peer, _: peer.below.deliver(peer.records(b"one", b"two")),
            told,
            ToldByBuffer(told) if buffered else None,
        )
        assert list(map(type, told.lost)) == [KeyError]

    def test_a_protocol_that_raises_at_the_end(self, context: ssl.SSLContext) -> None:
        class Raises(Told):
            def eof_received(self) -> bool:
                raise KeyError

        told = self.met(context, lambda peer, _: peer.below.deliver(peer.close_notify()), Raises())
        assert list(map(type, told.lost)) == [KeyError]

    def test_the_end_below_takes_what_came_in_a_pause(self, context: ssl.SSLContext) -> None:
        def act(peer: Scripted, told: Told) -> None:
            told.transport.pause_reading()
            peer.secured.data_received(peer.records(b"last words") + peer.close_notify())
            told.transport.resume_reading()
            peer.secured.eof_received()
            peer.secured.eof_received()

        told = self.met(context, act)
        assert (bytes(told.data), told.eofs) == (b"last words", 1)

    @pytest.mark.parametrize("data", [b"answer", b"x" * 20000])
    def test_openssl_can_not_write(self, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        def refuse(data: object) -> int:
            raise ssl.SSLError("no")

        def act(peer: Scripted, told: Told) -> None:
            monkeypatch.setattr(peer.secured, "_encrypt", refuse)
            told.transport.writelines([data])

        (lost,) = self.met(context, act).lost
        assert isinstance(lost, ssl.SSLError)

    def test_within_the_handshake(self, context: ssl.SSLContext) -> None:
        async def main() -> None:
            told = Told()
            peer = Scripted(context, told, asyncio.get_running_loop())
            peer.secured.connection_made(peer.below)
            peer.secured.pause_writing()
            peer.secured.resume_writing()
            peer.secured.abort()
            await asyncio.sleep(0.01)
            assert (told.writing, told.lost) == ([], [])
            (failure,) = peer.failed
            assert isinstance(failure, OSError)

        scripted(main)
