"""The rules of RFC 6455 as the websockets library keeps them, behind the interface of `FrameConnection`.

The same cases run over both. The library reads whole frames, and checks text when a message is complete, so that
it finds some faults later than `FrameConnection`; the messages before, and the close code, are the same.
Where the two are meant to differ:

* A close frame between the fragments of a message is a protocol error to the library. Section 5.4 lets any
  control frame be there, so `FrameConnection` answers it as any other.
* The library counts a control frame between fragments to the size of the message, and holds its payload against
  the largest size, which is that of messages.
* The library holds the length on the wire of a compressed fragment against the size that is left for the message.
* A length of more than 63 bits is too big (1009) to the library, where section 5.2 does not allow it (1002). A frame
  with several faults gets the code of the one that is looked at first.
"""

from __future__ import annotations

import logging
from typing import Any

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate as TheirDeflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from uvicorn_worker.websocket.control import Closed
from uvicorn_worker.websocket.deflate import PerMessageDeflate
from uvicorn_worker.websocket.errors import ProtocolError as OurProtocolError

__all__ = ["ReferenceConnection"]

_silent = logging.getLogger("tests.websocket.reference")
_silent.propagate = False
_silent.setLevel(logging.CRITICAL)

CODES: list[tuple[type[Exception], CloseCode]] = [
    (ProtocolError, CloseCode.PROTOCOL_ERROR),
    (UnicodeDecodeError, CloseCode.INVALID_DATA),
    (PayloadTooBig, CloseCode.MESSAGE_TOO_BIG),
]


class ReferenceConnection:
    """As `FrameConnection`, and slower."""

    def __init__(self, deflate: PerMessageDeflate | None, max_size: int) -> None:
        self._core = Protocol(SERVER, state=OPEN, max_size=max_size, logger=_silent)
        if deflate is not None:
            self._core.extensions = [
                TheirDeflate(
                    deflate.client_forgets,
                    deflate.server_forgets,
                    deflate.client_bits,
                    deflate.server_bits,
                    {"memLevel": 5},
                )
            ]
        self._opcode: Opcode | None = None
        self._parts: list[bytes] = []
        self._over = False
        self.pong: bytes | None = None

    def receive_data(self, data: bytes) -> list[str | bytes | Closed]:
        events: list[str | bytes | Closed] = []
        core = self._core
        if self._over:
            return events
        core.receive_data(data)
        try:
            for item in core.events_received():
                assert isinstance(item, Frame)
                self._take(item, events)
        except UnicodeDecodeError as exc:
            core.fail(CloseCode.INVALID_DATA, exc.reason)
            self._close(CloseCode.INVALID_DATA, exc.reason, events)
            return events
        if core.parser_exc is not None:
            code = next(code for kind, code in CODES if isinstance(core.parser_exc, kind))
            self._close(code, str(core.parser_exc), events)
        return events

    def _take(self, item: Frame, events: list[Any]) -> None:
        if item.opcode is Opcode.PONG:
            self.pong = bytes(item.data)
        elif item.opcode is Opcode.CLOSE:
            assert self._core.close_rcvd is not None
            self._close(self._core.close_rcvd.code, self._core.close_rcvd.reason, events)
        elif item.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if item.opcode is not Opcode.CONT:
                self._opcode = item.opcode
            self._parts.append(bytes(item.data))
            if item.fin:
                message, self._parts = b"".join(self._parts), []
                events.append(message.decode() if self._opcode is Opcode.TEXT else message)

    def _close(self, code: int, reason: str, events: list[Any]) -> None:
        self._over = True
        events.append(Closed(code, reason))

    def text(self, message: str) -> bytes:
        self._core.send_text(message.encode())
        return self.data_to_send()

    def binary(self, payload: bytes) -> bytes:
        self._core.send_binary(payload)
        return self.data_to_send()

    def ping(self, payload: bytes) -> None:
        if self.open:
            self._core.send_ping(payload)

    def close(self, code: int, reason: str) -> None:
        if self.open:
            try:
                self._core.send_close(code, reason)
            except ProtocolError as exc:
                raise OurProtocolError(str(exc)) from exc

    def fail(self, code: int, reason: str) -> None:
        if not self.finished:
            self._core.fail(code, reason)

    @property
    def open(self) -> bool:
        return self._core.state is OPEN

    @property
    def finished(self) -> bool:
        return self._core.eof_sent

    def data_to_send(self) -> bytes:
        return b"".join(self._core.data_to_send())
