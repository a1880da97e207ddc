"""TLS between the protocol of a connection and the transport below, which carries its records.

    transport of the loop, or a light one ─► records ─► TlsTransport ─► data_received() of the protocol
                                          ◄─ records ◄─              ◄─ write()

    handshake ─► open ─► closing ─► closed
        │                 │
        │                 └── our close_notify has left; what still comes is dropped until the client has sent its own
        └──► refused ─► closed
                └── our alert has left; what still comes is dropped until the client has ended, for a moment

The event loops have TLS of their own, which do the same for more: asyncio's is several calls of Python for each step,
uvloop's has buffers of its own for each connection, and both want a transport of the loop below, where most of a
connection for one request needs none. Reading, writing and closing are as with theirs: a client that ends its side is
told the same, and the connection closes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from uvicorn_worker.core.kernel import can_writelines
from uvicorn_worker.tls.contexts import TlsContexts

__all__ = ["TlsTransport"]

# The most that a record holds (RFC 8446, 5.1): what is asked for at once, so that OpenSSL keeps nothing back.
RECORD_SIZE = 16384
# How much is given to OpenSSL and taken from it at once. Its buffers stay as large as they ever were.
PIECE_SIZE = 65536
# How many seconds the client of a handshake that failed has to read why.
REFUSED_SECONDS = 1.0
# How many bytes OpenSSL may answer by itself while the client reads nothing: each change of keys that it asks for has
# an answer, and of a client that only asks all of them would be kept. These are more than two thousand.
MOST_UNHEARD = 65536

_HANDSHAKE, _REFUSED, _OPEN, _CLOSING, _CLOSED = range(5)


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A connection as its protocol sees it, and the protocol of the transport below.

    `make_protocol` is called when the handshake is over; None from it ends the connection. `ended` is called once: when
    the connection is made, and with what was wrong where it is not.
    """

    __slots__ = (
        "__weakref__",
        "_after",
        "_contexts",
        "_encrypt",
        "_ended",
        "_error",
        "_full",
        "_handshake",
        "_held",
        "_incoming",
        "_joins",
        "_loop",
        "_make_protocol",
        "_object",
        "_outgoing",
        "_paused",
        "_protocol",
        "_read",
        "_receive",
        "_state",
        "_unheard",
        "_until",
        "deadline",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        contexts: TlsContexts,
        make_protocol: Callable[[], asyncio.BaseProtocol | None],
        ended: Callable[[TlsTransport, BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._contexts = contexts
        # Whether the transport below forgets to pause who writes pieces.
        self._joins = not can_writelines(loop)
        self._make_protocol: Callable[[], asyncio.BaseProtocol | None] | None = make_protocol
        self._ended: Callable[[TlsTransport, BaseException | None], None] | None = ended
        # That below; a light one puts the loop's in its own place.
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        # The tick at which the handshake must be over; 0 for none.
        self.deadline = 0
        self._protocol: Any = None
        # What of it takes data; None where it has a buffer for it.
        self._receive: Callable[[bytes], None] | None = None
        self._state = _HANDSHAKE
        self._paused = False
        # Whether the client reads less than is written, and what OpenSSL has answered for itself since then.
        self._full = False
        self._unheard = 0
        # What ends a connection that was refused.
        self._until: asyncio.TimerHandle | None = None
        # Whether what is written leaves with the close that follows at once.
        self._held = False
        self._error: BaseException | None = None
        # What comes behind all that could be read: the client's close_notify, or what is none of TLS.
        self._after: ssl.SSLError | None = None
        # With the first byte: a client that says nothing holds no memory of OpenSSL's.
        self._object: ssl.SSLObject | None = None

    # The handshake -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a transport below."""
        self.transport = cast("asyncio.Transport", transport)
        if self._state is not _HANDSHAKE:
            self.transport.abort()

    @property
    def begun(self) -> bool:
        """Whether the client has said anything yet."""
        return self._object is not None

    def cancel(self, exc: BaseException | None = None) -> None:
        """Give the handshake up, or the wait for the transport below, or for a client that was refused."""
        if self._state is _HANDSHAKE:
            self._give_up(exc or ConnectionAbortedError("the TLS handshake was given up"))
        elif self._state is _REFUSED:
            self._tell_ended(self._error)
            self.transport.abort()

    def _begin(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._object = self._contexts.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # What is in C below: the methods of the ssl module call these, those of a class of the operator's may do more.
        below: Any = getattr(tls, "_sslobj", tls) if type(tls) is ssl.SSLObject else tls
        self._handshake, self._read, self._encrypt = below.do_handshake, below.read, below.write

    def _shake_hands(self) -> None:
        try:
            self._handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except Exception as exc:  # noqa: BLE001 - also what a callback of the operator's context raises
            self._send()
            self._give_up(exc)
            return
        make_protocol, self._make_protocol = self._make_protocol, None
        protocol = None if make_protocol is None else make_protocol()
        if protocol is None:
            self._give_up(None)
            return
        self._state = _OPEN
        self.set_protocol(protocol)
        try:
            protocol.connection_made(self)
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("connection_made", exc)
        # Now that it is one of those that are held: in between there would seem to be room for another.
        self._tell_ended(None)
        if self._incoming.pending:
            # A request has come along: its answer may take the session tickets with it.
            self._deliver()
            self._loop.call_soon(self._send)
        else:
            self._send()

    def _give_up(self, exc: BaseException | None) -> None:
        """The handshake has failed: what OpenSSL says of it has been sent."""
        self._make_protocol = None
        if isinstance(exc, ssl.SSLError):
            self._refuse(exc)
            return
        self._state = _CLOSED
        self._tell_ended(exc)
        if self.transport is not None:
            self.transport.abort()

    def _refuse(self, exc: ssl.SSLError) -> None:
        """Let the client read the alert, while it may be sending still: the reset for that would take the alert away.

        In TLS 1.3 a client has sent its request before it is told that its certificate is none of ours.
        """
        self._state, self._error = _REFUSED, exc
        try:
            self.transport.write_eof()
        except OSError:
            # It has reset the connection.
            self.transport.abort()
            return
        self._until = self._loop.call_later(REFUSED_SECONDS, self.transport.abort)

    def _tell_ended(self, exc: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self, exc)

    # Reading -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Records have come, or parts of them."""
        if len(data) > PIECE_SIZE:
            view = memoryview(data)
            for start in range(0, len(data), PIECE_SIZE):
                self.data_received(view[start : start + PIECE_SIZE])  # type: ignore[arg-type]
            return
        state = self._state
        if state is _OPEN:
            incoming = self._incoming
            incoming.write(data)
            if self._paused:
                return
            receive = self._receive
            if receive is None:
                self._deliver()
            else:
                # As `_next_data`, without the calls: one record, of a small request.
                try:
                    plain = self._read(RECORD_SIZE)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as exc:
                    self._break(exc)
                else:
                    if not plain or incoming.pending:
                        self._deliver(self._with_next(plain))
                    else:
                        try:
                            receive(plain)
                        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
                            self._fail("data_received", exc)
            if self._outgoing.pending:
                self._answer()
        elif state is _HANDSHAKE:
            if self._object is None:
                self._begin()
            self._incoming.write(data)
            self._shake_hands()
        elif state is _CLOSING:
            self._incoming.write(data)
            self._drop()

    def _deliver(self, data: bytes | None = None) -> None:
        """Give the protocol what the records hold that have come whole; `data` is what was read of them."""
        incoming = self._incoming
        more = True
        while more and self._state is _OPEN and not self._paused:
            if self._receive is None and not data:
                more = self._fill(self._protocol)
            else:
                if data is None:
                    data = self._next_data()
                more = incoming.pending > 0
                if data:
                    try:
                        self._protocol.data_received(data)
                    except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
                        self._fail("data_received", exc)
                data = None
            if self._after is not None and not self._paused:
                if self._state is _OPEN:
                    self._end_of_input()
                return
        if self._state is _CLOSING:
            # Closed by the protocol: the client's close_notify may have come along.
            self._drop()

    def _next_data(self) -> bytes:
        """What the next records hold; nothing where there is no whole one."""
        try:
            data: bytes = self._read(RECORD_SIZE)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as exc:
            self._after = exc
            return b""
        return self._with_next(data)

    def _with_next(self, data: bytes) -> bytes:
        """A record and those behind it; nothing is the client's close_notify."""
        incoming, read = self._incoming, self._read
        pieces = [data]
        try:
            while data and incoming.pending:
                data = read(RECORD_SIZE)
                pieces.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self._after = exc
        if not data:
            self._after = ssl.SSLZeroReturnError()
        return b"".join(pieces)

    def _fill(self, protocol: asyncio.BufferedProtocol) -> bool:
        """The same into the buffer of a protocol; whether that is full."""
        incoming, read = self._incoming, self._read
        got = 0
        try:
            buffer = memoryview(protocol.get_buffer(-1))
            size = len(buffer)
            try:
                while got < size:
                    count = read(size - got, buffer[got:])
                    if not count:
                        self._after = ssl.SSLZeroReturnError()
                        break
                    got += count
                    if not incoming.pending and got < size:
                        break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as exc:
                self._after = exc
            if got:
                protocol.buffer_updated(got)
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("buffer_updated", exc)
            return False
        return got == size

    def eof_received(self) -> bool:
        """The client has ended the connection below, or its side of it."""
        if self._state is _HANDSHAKE:
            self._give_up(ConnectionResetError("the client left within the TLS handshake"))
        elif self._state is _OPEN:
            self._read_rest()
            if self._state is _OPEN:
                self._after = ssl.SSLZeroReturnError()
                self._end_of_input()
        return False

    def _end_of_input(self) -> None:
        """The client sends nothing more, or nothing that can be read; with TLS no connection stays half open."""
        if not isinstance(self._after, ssl.SSLZeroReturnError):
            self._break(cast("ssl.SSLError", self._after))
            return
        try:
            self._protocol.eof_received()
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("eof_received", exc)
        self.close()

    def pause_reading(self) -> None:
        """Leave what comes to the kernel, unless the client's close_notify is waited for."""
        if self._state is _OPEN:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read what comes again, and what had come before."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
            self._loop.call_soon(self._read_rest)

    def _read_rest(self) -> None:
        tls = self._object
        if tls is None or self._state is not _OPEN or self._paused:
            return
        if self._after is not None:
            self._end_of_input()
        elif self._incoming.pending or tls.pending():
            self._deliver()
            self._answer()

    def is_reading(self) -> bool:
        """Whether what comes is read."""
        return self._state is _OPEN and not self._paused

    # Writing -----------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Write at once."""
        if self._state is not _OPEN:
            return
        if len(data) > PIECE_SIZE:
            self.writelines((data,))
        elif data:
            try:
                self._encrypt(data)
            except ssl.SSLError as exc:
                self._break(exc)
                return
            if not self._held:
                self.transport.write(self._outgoing.read())

    def hold(self) -> None:
        """What is written from now on leaves with the `close()` that the caller is about to call, in one piece."""
        self._held = True

    def writelines(self, list_of_data: Any) -> None:
        """Write pieces; small ones share a record."""
        pieces = list(list_of_data)
        if self._state is not _OPEN:
            return
        if sum(map(len, pieces)) <= RECORD_SIZE:
            self.write(b"".join(pieces))
            return
        outgoing, encrypt, records = self._outgoing, self._encrypt, []
        try:
            for piece in pieces:
                if len(piece) <= PIECE_SIZE:
                    encrypt(piece)
                else:
                    view = memoryview(piece)
                    for start in range(0, len(view), PIECE_SIZE):
                        encrypt(view[start : start + PIECE_SIZE])
                        records.append(outgoing.read())
                if outgoing.pending >= PIECE_SIZE:
                    records.append(outgoing.read())
        except ssl.SSLError as exc:
            self._break(exc)
            return
        if outgoing.pending:
            records.append(outgoing.read())
        if len(records) > 1 and self._joins:
            records = [b"".join(records)]
        self.transport.write(records[0]) if len(records) == 1 else self.transport.writelines(records)

    def _send(self) -> None:
        """Let what OpenSSL has to say leave."""
        if self._outgoing.pending and not self.transport.is_closing():
            self.transport.write(self._outgoing.read())

    def _answer(self) -> None:
        """Let leave what OpenSSL has to say to what was read: the answer to a change of keys."""
        if self._full:
            self._unheard += self._outgoing.pending
            if self._unheard > MOST_UNHEARD:
                self.abort()
                return
        self._send()

    def pause_writing(self) -> None:
        """The client does not read as fast as is written."""
        self._full = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self._full, self._unheard = False, 0
        if self._protocol is not None:
            self._protocol.resume_writing()

    def can_write_eof(self) -> bool:
        """What has no half-closed connections can't."""
        return False

    def get_write_buffer_size(self) -> int:
        """How much waits below, in records."""
        return self.transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to wait with writing."""
        self.transport.set_write_buffer_limits(high, low)

    # Ending ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close when all is written and the client has said that it closes, too."""
        if self._state is not _OPEN:
            return
        self._state = _CLOSING
        if self._paused:
            # What it says is read in any case.
            self._paused = False
            self.transport.resume_reading()
        if self._drop():
            return
        try:
            cast("ssl.SSLObject", self._object).unwrap()
        except ssl.SSLError:
            # The client has said nothing yet, or was in the middle of something.
            self._send()
        else:
            self._send()
            self.transport.close()

    def _drop(self) -> bool:
        """Read what nobody wants any more; True where the client has closed its side, and all is over."""
        incoming, read, tls = self._incoming, self._read, cast("ssl.SSLObject", self._object)
        try:
            while incoming.pending or tls.pending():
                if not read(RECORD_SIZE):
                    return False
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            # close_notify behind our own, or what can't be read. An answer that was held leaves all the same.
            self._send()
            self.transport.close()
            return True
        return False

    def abort(self) -> None:
        """Close at once; of what has been read nothing more is told."""
        if self._state is not _HANDSHAKE:
            self._state = _CLOSED
        self.transport.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._state is not _OPEN or self.transport.is_closing()

    def _break(self, exc: ssl.SSLError) -> None:
        """What the client has sent is no TLS, or not of this connection: it gets the alert, and the end."""
        self._error = exc
        self._state = _CLOSING
        self._send()
        self.transport.close()

    def _fail(self, where: str, exc: Exception) -> None:
        self._error = exc
        context = {"message": f"Fatal error: protocol.{where}() call failed.", "exception": exc, "transport": self}
        self._loop.call_exception_handler({**context, "protocol": self._protocol})
        self._state = _CLOSING
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection below is over."""
        self._state, self._make_protocol = _CLOSED, None
        protocol, self._protocol, self._receive = self._protocol, None, None
        # An error has the frames that it came through, and they have this.
        error, self._error, self._after = self._error, None, None
        if self._until is not None:
            self._until.cancel()
        self._tell_ended(error or exc or ConnectionResetError("the connection ended within the TLS handshake"))
        if protocol is not None:
            protocol.connection_lost(error or exc)

    # The rest ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the loop's transports of TLS know it."""
        tls = self._object
        if tls is None or name in ("socket", "peername", "sockname"):
            return self.transport.get_extra_info(name, default)
        if name == "ssl_object":
            return tls
        if name == "sslcontext":
            return tls.context
        if name in ("peercert", "cipher", "compression"):
            return getattr(tls, "getpeercert" if name == "peercert" else name)()
        return self.transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol reads."""
        self._protocol = protocol
        self._receive = None if isinstance(protocol, asyncio.BufferedProtocol) else protocol.data_received  # type: ignore[attr-defined]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who reads."""
        return cast("asyncio.BaseProtocol", self._protocol)
