"""What only few applications send: trailers, early hints, and files. `RequestCycle` is the rest of a response.

trailers    announced ─► TRAILED: in chunks ─► ENDED, by the last of the body ─► trailers, or the return ─► done
                     └─► UNTRAILED: the client does not take them, and the body is all there is
a file      head ─► [the size of a chunk] ─► SENDING_FILE ─► [the end of the chunk] ─► as any piece of a body
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.cycle import (
    AWAIT_START,
    BODILESS,
    BODY,
    DONE,
    EXPECTED,
    HEAD_HELD,
    Cycle,
    wrong_length,
)
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.core.files import TURN_SIZE, FilePart, file_of, opened_path, read_piece
from uvicorn_worker.core.response_fields import INFORMATIONAL, as_fields, check_trailers, informational_of
from uvicorn_worker.http1.framing import takes_trailers
from uvicorn_worker.http1.kernel_sending import KernelSending, sending_socket
from uvicorn_worker.http1.response_head import encode_fields, status_line

__all__ = ["CHUNKED", "COPY_LIMIT", "NO_BODY", "SIZED", "UNTIL_CLOSE", "ExtendedCycle"]

# How the body of the response is delimited.
NO_BODY, SIZED, CHUNKED, UNTIL_CLOSE = range(4)

# Up to this size a chunk is copied into one piece with its framing; above, the copy costs more than a
# second piece in the write.
COPY_LIMIT = 16384

# What is special about a response; see above.
TRAILED, UNTRAILED, ENDED, SENDING_FILE = 1, 2, 4, 8


class ExtendedCycle(Cycle):
    """The messages of extensions, on top of those for head and body."""

    __slots__ = ("framing", "head_only", "http10", "length", "lines", "remaining", "special")

    framing: int
    head_only: bool
    http10: bool
    # The length that the application has told; the lines of the head while it is held, and of trailers after it.
    length: int | None
    lines: list[bytes]
    # What remains of a body of declared length.
    remaining: int
    # 0 for nearly all.
    special: int

    # What is there of it -----------------------------------------------------------------------------

    async def send(self, message: Event) -> None:
        """Take one message of the response."""
        raise NotImplementedError

    def _send_first(self, body: bytes, more: bool) -> None:
        """Choose how the body is delimited, and send the head together with what there is of the body."""
        raise NotImplementedError

    def _send_more(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body."""
        raise NotImplementedError

    async def _wait_for_client(self) -> None:
        raise NotImplementedError

    # Messages of extensions --------------------------------------------------------------------------

    async def send_other(self, message: Event) -> None:
        """Take a message that is neither head nor body."""
        kind, stage, special = message["type"], self.stage, self.special
        in_body = HEAD_HELD <= stage <= BODY and not special & (ENDED | SENDING_FILE)
        if kind == "http.response.pathsend" and in_body:
            with opened_path(message) as part:
                await self._send_file(part, False)
        elif kind == "http.response.zerocopysend" and in_body:
            with file_of(message) as part:
                await self._send_file(part, bool(message.get("more_body", False)))
        elif kind in INFORMATIONAL and stage == AWAIT_START:
            self._send_informational(*informational_of(message))
        elif kind == "http.response.trailers" and (special & ENDED or (special == UNTRAILED and stage == DONE)):
            self._send_trailers(message)
        else:
            raise self.out_of_order(kind, self._expected)

    @property
    def _expected(self) -> str:
        if self.special & SENDING_FILE:
            return "nothing, before the file is sent"
        return "http.response.trailers" if self.special & ENDED else EXPECTED[self.stage]

    @property
    def _is_bodiless(self) -> bool:
        """Whether the response has no body on the wire, whatever the application sends."""
        return self.status in BODILESS or self.status < 200 or self.head_only

    def _send_informational(self, status: int, fields: Iterable[Any]) -> None:
        """Send a head before that of the response, which a client of HTTP/1.0 and some proxies would take for it.

        100 is sent where the application begins to read. 103 are early hints (RFC 8297).
        """
        lines = [status_line(status)]
        if encode_fields(fields, lines, self.conn.field_memo, self.runtime.defaults.names)[0] is not None:
            raise ApplicationError("content-length is no field of an informational response")
        lines.append(b"\r\n")
        if status != 100 and not self.http10 and (status != 103 or self.runtime.config.early_hints):
            self.conn.gather(b"".join(lines))

    # Trailers ----------------------------------------------------------------------------------------

    def announce_trailers(self) -> None:
        """The application will send trailers: they get a place behind the body if the client says that it takes them.

        RFC 9110, 6.5.1: they may be lost on the way otherwise, so that what is said of them is dropped.
        """
        if not self._is_bodiless and not self.http10 and takes_trailers(self.scope["headers"]):
            # RFC 9112, 6.2: what comes in chunks has no length; the application is still held to what it has told.
            self.special = TRAILED
            self.body_sent = 0
            self.remaining = -1 if self.length is None else self.length
            self.length = None
        else:
            self.special = UNTRAILED
            self.lines = [line for line in self.lines if line[:8].lower() != b"trailer:"]

    def send_special(self, body: bytes, more: bool) -> bool:
        """Send a piece of the body where something is special; gives whether more is to come of the response."""
        special = self.special
        if special & (ENDED | SENDING_FILE):
            raise self.out_of_order("http.response.body", self._expected)
        if special == TRAILED:
            self._count_trailed(len(body), more)
        send = self._send_first if self.stage == HEAD_HELD else self._send_more
        send(body, more or special == TRAILED)
        if special == TRAILED and not more:
            self.special = TRAILED | ENDED
        return more

    def _count_trailed(self, size: int, more: bool) -> None:
        """Hold a body in chunks to the length that the application has told."""
        remaining = self.remaining
        if remaining >= 0:
            if size > remaining or (size < remaining and not more):
                raise wrong_length(self.body_sent + remaining, self.body_sent + size)
            self.remaining = remaining - size

    def _send_trailers(self, message: Event) -> None:
        """Take trailers; the last of them end the response."""
        headers = as_fields(message.get("headers", ()))
        lines: list[bytes] = []
        check_trailers(headers)
        encode_fields(headers, lines, self.conn.field_memo, self.runtime.defaults.names)
        if not self.special & ENDED:
            return
        self.lines += lines
        if not message.get("more_trailers", False):
            lines, self.lines = self.lines, []
            self.special = 0
            self.stage = DONE
            self.conn.response_complete(self, b"".join([b"0\r\n", *lines, b"\r\n"]))

    def end_without_trailers(self) -> bool:
        """A middleware may have dropped them, with all messages but those of the head and the body."""
        if not self.special & ENDED:
            return False
        self._send_trailers({})
        return True

    # Files -------------------------------------------------------------------------------------------

    async def _send_file(self, part: FilePart, more: bool) -> None:
        """Send a part of a file as a piece of the body: by the kernel where it can."""
        runtime, size = self.runtime, part.size
        if self._is_bodiless:
            # Its length is told, and nothing of it sent.
            if self.stage == HEAD_HELD and self.length is None and not more and self.status not in BODILESS:
                self.length = size
            await self.send({"type": "http.response.body", "more_body": more})
            return
        self._check_length(size, more)
        if self.stage == HEAD_HELD and self.length is None and not more and self.special != TRAILED:
            self.length = size
        sock = sending_socket(self.conn.transport) if size > COPY_LIMIT and runtime.config.sendfile else None
        if size <= COPY_LIMIT:
            # A write of its own would cost more.
            body = bytes(await read_piece(runtime.loop, part.fd, size, part.offset)) if size else b""
            if len(body) < size:
                raise part.shrunk()
            await self.send({"type": "http.response.body", "body": body, "more_body": more})
            return
        if self.stage == HEAD_HELD:
            self._send_first(b"", True)
        chunked = self.framing == CHUNKED
        if chunked:
            self.conn.gather(b"%x\r\n" % size)
        await self._send_part(part, sock)
        if self.lost:
            if self.framing == SIZED and runtime.drops_rest:
                return
            raise ClientDisconnected("the client left while the response was being sent")
        if chunked:
            self.conn.gather(b"\r\n")
        if self.special == TRAILED:
            self.special = TRAILED if more else TRAILED | ENDED
            self.remaining -= size if self.remaining >= 0 else 0
        else:
            if self.framing == SIZED:
                self.remaining -= size
            if not more:
                self._send_more(b"", False)

    async def _send_part(self, part: FilePart, sock: Any) -> None:
        """Send the content of a file, by the kernel if there is a `sock`; where it ends before, nothing can follow."""
        self.special |= SENDING_FILE
        try:
            left = part.size if sock is None else await self._send_by_kernel(part, sock)
            if left:
                await self._send_pieces(part, left)
        except (Exception, asyncio.CancelledError):
            # The client would take what comes behind the beginning of the file for the rest of it.
            if not self.lost:
                self.cut()
            raise
        finally:
            self.special &= ~SENDING_FILE

    def _check_length(self, size: int, more: bool) -> None:
        """Raise `ApplicationError` where a piece of `size` bytes does not fit the length that was told."""
        if self.special == TRAILED:
            declared = None if self.remaining < 0 else self.remaining
        elif self.stage == HEAD_HELD:
            declared = self.length
        else:
            declared = self.remaining if self.framing == SIZED else None
        if declared is not None and (size > declared or (size < declared and not more)):
            sent = 0 if self.stage == HEAD_HELD else self.body_sent
            raise wrong_length(sent + declared, sent + size)

    async def _send_by_kernel(self, part: FilePart, sock: Any) -> int:
        """Send by sendfile(), behind what was gathered; gives how much is left to be read and written."""
        sending = KernelSending(self, part)
        try:
            if not sending.begin(sock):
                await sending.run(self.runtime.loop, sock)
        except OSError as exc:
            raise ApplicationError(f"{part.name} can't be read: {exc}") from exc
        return sending.left

    async def _send_pieces(self, part: FilePart, left: int) -> None:
        """Send the last `left` bytes of a part by reading them."""
        conn = self.conn
        at, turn = part.offset + part.size - left, 0
        while left and not self.lost:
            piece = await read_piece(self.runtime.loop, part.fd, left, at)
            if not piece:
                raise part.shrunk()
            at += len(piece)
            left -= len(piece)
            self.body_sent += len(piece)
            if not self.lost:
                conn.gather(piece)
            turn += len(piece)
            if conn.write_paused:
                await self._wait_for_client()
                turn = 0
            elif turn >= TURN_SIZE:
                await asyncio.sleep(0)
                turn = 0
