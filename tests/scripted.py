"""A connection without a socket: bytes in, behaviour out.

`ScriptedTransport` stands where asyncio's transport would, with the same rules: nothing is read while reading is
paused, `connection_lost` comes in a later turn of the loop, a closed transport still sends what was written, and
the protocol is told to pause when the client does not read. `Harness` runs an application behind it, turn by turn
of an event loop that never sleeps; `Client` is one connection to it, and reads the responses strictly.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import Runtime

__all__ = [
    "PARSERS",
    "READ_SIZE",
    "Client",
    "Harness",
    "Response",
    "ScriptedTransport",
    "get",
    "parse_responses",
    "post",
    "ticks_of",
]

# Those that are installed; the first one is what servers take of themselves.
PARSERS = [name for name in ("httptools", "h11") if importlib.util.find_spec(name)]

# As asyncio: the most that one read gives, and how much may wait to be sent before the protocol is told to pause.
READ_SIZE = 262144
HIGH_WATER = 65536

# More turns than any test needs: something keeps the loop busy without end.
MOST_TURNS = 100_000


class ScriptedSocket:
    """The socket behind a transport, of which only the options matter."""

    def __init__(self) -> None:
        self.options: list[tuple[Any, ...]] = []

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)

    def fileno(self) -> int:
        """There is none: what the kernel holds is not known."""
        return -1


class ScriptedTransport(asyncio.Transport):
    """Records what a protocol does; plays the client's side on demand."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        peername: Any = ("192.0.2.7", 50123),
        sockname: Any = ("127.0.0.1", 8000),
        sslcontext: Any = None,
        ssl_object: Any = None,
        half_close: bool = True,
    ) -> None:
        self.socket = ScriptedSocket()
        super().__init__(
            {
                "peername": peername,
                "sockname": sockname,
                "sslcontext": sslcontext,
                "ssl_object": ssl_object,
                "socket": self.socket,
            },
        )
        self._loop = loop
        self._half_close = half_close
        self._protocol: asyncio.Protocol = cast("asyncio.Protocol", None)
        # What happened, in order: write, writelines, write_eof, close, abort, pause_reading, resume_reading.
        self.calls: list[str] = []
        # One item for each write or writelines.
        self.writes: list[bytes] = []
        self.reading = True
        self.lost = False
        self.eof_written = False
        self._closing = False
        self._unread: list[bytes | None] = []
        self._ended = False
        self._stalled = False
        self._unsent = 0
        self._paused_protocol = False

    # The protocol's side -----------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._wrote("write", bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self._wrote("writelines", b"".join(list_of_data))

    def _wrote(self, how: str, data: bytes) -> None:
        assert not self.eof_written, "a write after write_eof"
        assert data, "an empty write"
        self.calls.append(how)
        if self.lost or (self._closing and "abort" in self.calls):
            return
        self.writes.append(data)
        if self._stalled:
            self._unsent += len(data)
            if self._unsent > HIGH_WATER and not self._paused_protocol:
                self._paused_protocol = True
                self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return self._half_close

    def write_eof(self) -> None:
        self.calls.append("write_eof")
        self.eof_written = True

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")
        self.reading = False

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")
        self.reading = True
        self._loop.call_soon(self._read)

    def close(self) -> None:
        if self._closing:
            return
        self.calls.append("close")
        self._closing = True
        if not self._unsent:
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.calls.append("abort")
        self._closing = True
        self._unsent = 0
        self._loop.call_soon(self._lose, None)

    def _lose(self, exc: Exception | None) -> None:
        if not self.lost:
            self.lost = self._closing = True
            self._protocol.connection_lost(exc)

    # The client's side -------------------------------------------------------------------------------

    def deliver(self, *pieces: bytes | None) -> None:
        """Bytes that arrive, one read each; None for the end of them."""
        self._unread += pieces
        self._read()

    def _read(self) -> None:
        while self._unread and self.reading and not self._closing:
            piece = self._unread.pop(0)
            if piece is None:
                self._ended = True
                if not self._protocol.eof_received():
                    self.close()
            else:
                self._give(piece)

    def _give(self, piece: bytes) -> None:
        protocol: asyncio.BaseProtocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(protocol.get_buffer(-1))
            assert len(buffer) >= len(piece)
            buffer[: len(piece)] = piece
            protocol.buffer_updated(len(piece))
            # What is kept of it has to be a copy.
            buffer[: len(piece)] = bytes(len(piece))
        else:
            self._protocol.data_received(piece)

    def stall(self) -> None:
        """From now on the client does not read."""
        self._stalled = True

    def take(self, size: int) -> None:
        """The client has read `size` bytes of what waits for it, and not enough for there to be room again."""
        self._unsent = max(0, self._unsent - size)

    def drain(self) -> None:
        """The client has read all that was written, and goes on reading."""
        self._stalled = False
        self._unsent = 0
        if self._closing:
            self._loop.call_soon(self._lose, None)
        elif self._paused_protocol:
            self._paused_protocol = False
            self._protocol.resume_writing()

    def sip(self) -> None:
        """The client has read all that was written, and reads nothing of what comes next."""
        self._unsent = 0
        if self._paused_protocol:
            self._paused_protocol = False
            self._protocol.resume_writing()

    def leave(self, exc: Exception | None = None) -> None:
        """The client is gone: a reset where `exc` is given."""
        self._unsent = 0
        self._closing = True
        self._loop.call_soon(self._lose, exc)

    # What became of it -------------------------------------------------------------------------------

    @property
    def output(self) -> bytes:
        """All bytes that were written."""
        return b"".join(self.writes)

    @property
    def unread(self) -> int:
        """How many bytes wait because reading is paused."""
        return sum(len(piece) for piece in self._unread if piece)

    @property
    def was_reset(self) -> bool:
        """Whether the connection was cut so that the client sees a reset, not an end."""
        return "abort" in self.calls and any(option[1] == socket.SO_LINGER for option in self.socket.options)


@dataclass(frozen=True)
class Response:
    """A response as a client reads it; `complete` is false where it ended too early."""

    version: str
    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool = True
    framing: str = "none"
    trailers: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The one value of a field; None without it."""
        values = self.get_all(name)
        assert len(values) <= 1, f"field {name} occurs {len(values)} times"
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def closes(self) -> bool:
        return self.get("connection") == "close"


def parse_responses(data: bytes, methods: Iterable[str] = (), *, ended: bool = False) -> list[Response]:
    """All responses in `data`, which hold nothing else; `methods` are those of the requests, GET where it runs out."""
    responses = []
    asked = iter(methods)
    method = next(asked, "GET")
    # Nothing is cut off in front: that would copy the rest for each response, and for each chunk.
    at = 0
    while at < len(data):
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            assert ended, f"not a whole head: {data[at:]!r}"
            responses.append(Response("", 0, "", (), data[at:], complete=False))
            break
        line, *lines = data[at:end].decode("latin-1").split("\r\n")
        at = end + 4
        version, status, reason = line.split(" ", 2)
        assert version == "HTTP/1.1", f"not a status line: {line!r}"
        fields = _fields_of(lines)
        trailers: tuple[tuple[str, str], ...] = ()
        code = int(status)
        known = {name.lower(): value for name, value in fields}
        if code < 200 or code in (204, 304) or method == "HEAD":
            body, complete, framing = b"", True, "none"
        elif "transfer-encoding" in known:
            assert known["transfer-encoding"] == "chunked"
            assert "content-length" not in known
            body, trailers, at, complete = _parse_chunked(data, at)
            framing = "chunked"
        elif "content-length" in known:
            size = int(known["content-length"])
            body = data[at : at + size]
            at += size
            complete, framing = len(body) == size, "length"
        else:
            body, at, complete, framing = data[at:], len(data), ended, "close"
        responses.append(Response(version, code, reason, fields, body, complete, framing, trailers))
        if code >= 200:
            method = next(asked, "GET")
    return responses


def _fields_of(lines: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))


def _parse_chunked(data: bytes, at: int) -> tuple[bytes, tuple[tuple[str, str], ...], int, bool]:
    """The body that begins at `at`, its trailers, where it ends, and whether it is complete."""
    chunks: list[bytes] = []
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        if not size:
            if data[end : end + 4] == b"\r\n\r\n":
                return b"".join(chunks), (), end + 4, True
            last = data.find(b"\r\n\r\n", end)
            if last < 0:
                break
            lines = data[end + 2 : last].decode("latin-1").split("\r\n")
            return b"".join(chunks), _fields_of(lines), last + 4, True
        at = end + 2
        chunks.append(data[at : at + size])
        if len(data) < at + size + 2:
            break
        at += size
        assert data[at : at + 2] == b"\r\n", "a chunk that does not end where it says"
        at += 2
    return b"".join(chunks), (), len(data), False


class Client:
    """One connection to a `Harness`."""

    def __init__(self, harness: Harness, **transport: Any) -> None:
        self.harness = harness
        self.transport = ScriptedTransport(harness.loop, **transport)
        self.protocol = harness.make_protocol()
        self.transport.set_protocol(self.protocol)
        harness.inside(self.protocol.connection_made, self.transport)

    def send(self, *pieces: bytes, each: int | None = None) -> Client:
        """Send each piece as one read, or all in reads of `each` bytes, then let the server work until it is quiet."""
        if each is not None:
            data = b"".join(pieces)
            pieces = tuple(data[at : at + each] for at in range(0, len(data), each))
        for piece in pieces:
            for at in range(0, len(piece), READ_SIZE):
                self.push(piece[at : at + READ_SIZE])
            self.harness.settle()
        return self

    def push(self, data: bytes | None) -> None:
        """Let `data` arrive (None: its end), and no more than the turn of the loop pass in which it is read."""
        self.harness.inside(self.transport.deliver, data)

    def eof(self) -> Client:
        """End the client's side; it still reads."""
        self.push(None)
        self.harness.settle()
        return self

    def leave(self, exc: Exception | None = None) -> Client:
        self.transport.leave(exc)
        self.harness.settle()
        return self

    def stall(self) -> Client:
        self.transport.stall()
        return self

    def drain(self) -> Client:
        self.harness.inside(self.transport.drain)
        self.harness.settle()
        return self

    def take(self) -> bytes:
        """What was written since the last call."""
        data = self.transport.output
        self.transport.writes.clear()
        return data

    def responses(self, *methods: str) -> list[Response]:
        """The responses to all that was sent, which must be whole."""
        responses = parse_responses(self.transport.output, methods, ended=self.closed)
        assert all(response.complete for response in responses), responses
        return responses

    def response(self, method: str = "GET") -> Response:
        """The one response to all that was sent."""
        (response,) = self.responses(method)
        return response

    @property
    def closed(self) -> bool:
        """Whether the client has seen the end of the connection."""
        return self.transport.lost or self.transport.eof_written

    @property
    def open(self) -> bool:
        return not self.closed


class Harness:
    """An application behind the core, without server and sockets."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        parser: str = PARSERS[0],
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Any,
    ) -> None:
        self.loop = loop if loop is not None else asyncio.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self.config = Config(app=app, http=parser, **options)
        self.runtime = Runtime(self.config, app, self.loop)
        # How many seconds have been let pass.
        self.passed = 0.0
        self.make_protocol = self.protocols()

    def protocols(self) -> Callable[[], asyncio.Protocol]:
        """What makes a connection: of all protocols; the tests of a single one have a harness of their own."""
        from uvicorn_worker.switching.dispatch import protocol_factory

        return cast("Callable[[], asyncio.Protocol]", protocol_factory(self.runtime))

    def connect(self, **transport: Any) -> Client:
        return Client(self, **transport)

    def turn(self) -> None:
        """One turn of the loop: what is ready now, and nothing that becomes so meanwhile."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def inside(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function` from within the loop, as a transport does, and raise what it raises."""
        raised: list[BaseException] = []

        def call() -> None:
            try:
                function(*args)
            except BaseException as exc:  # noqa: BLE001 - it is raised again
                raised.append(exc)

        self.loop.call_soon(call)
        self.turn()
        if raised:
            raise raised[0]

    def settle(self) -> None:
        """Turn until nothing is left to do."""
        loop: Any = self.loop  # asyncio's loops have no public way to ask
        if not loop._ready and not getattr(loop, "_scheduled", ()):
            # As after most of the bytes of what is sent byte by byte.
            return
        for _ in range(MOST_TURNS):
            self.turn()
            if not loop._ready:
                return
        raise AssertionError("the loop does not come to rest")

    def tick(self, seconds: float) -> None:
        """Let time pass for the deadlines of the connections, as the server's tick does."""
        for _ in range(round(seconds / TICK)):
            self.passed += TICK
            self.runtime.count_tick()
            self.inside(self.runtime.on_tick, time.monotonic() + self.passed)
            self.settle()

    def close(self) -> None:
        """End everything; whatever the loop had to complain about is an error."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.settle()
        self.loop.close()
        assert self.faults == []


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body; `fields` are whole header lines."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: example.org", *fields, "", ""]).encode("latin-1")


def post(body: bytes, *fields: str, target: str = "/", version: str = "1.1") -> bytes:
    """A request with a body of known length."""
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST", version=version) + body


def ticks_of(told: list[int], tick: Callable[[float], object], seconds: float) -> int:
    """How many ticks connections are told of while `tick` lets some seconds pass; `told` is the fixture."""
    told.clear()
    tick(seconds)
    return len(told)
