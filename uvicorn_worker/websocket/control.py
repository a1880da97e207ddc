"""Control frames (RFC 6455, 5.5) and the closing handshake (7.1).

OPEN ─► CLOSING ─► FINISHED          close(): our close frame was sent, the client's is waited for
  └────────────────────┘             the client's close frame came and was answered, or reading failed
"""

from __future__ import annotations

import struct

from uvicorn_worker.websocket.errors import ProtocolError

__all__ = ["Closed", "ControlFrames"]

_FIN = 0x80
CLOSE, PING, PONG = 8, 9, 10

# 7.4: what an endpoint says in a close frame. 1004 has no meaning; 1005, 1006 and 1015 are never on the wire.
_CODES = frozenset([1000, 1001, 1002, 1003, *range(1007, 1015)])
PROTOCOL_ERROR, NO_STATUS, INVALID_DATA = 1002, 1005, 1007

# 5.5
_MOST = 125

_pack_code = struct.Struct(">H").pack


class Closed:
    """The client's close frame was received, or reading failed: no message comes any more."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class ControlFrames:
    """Answers control frames of the client, and sends ours: what is to be sent is taken by `data_to_send`."""

    __slots__ = ("_sent", "_writes", "finished", "open", "pong")

    def __init__(self) -> None:
        # Whether messages can be sent; whether the server is to close its side.
        self.open = True
        self.finished = False
        # The payload of the last pong.
        self.pong: bytes | None = None
        # What our close frame said.
        self._sent: Closed | None = None
        self._writes: list[bytes] = []

    def receive(self, opcode: int, payload: bytes) -> Closed | None:
        """Answer a control frame; give the end, where it is one."""
        if opcode == PING:
            # 5.5.2: a pong has the payload of the ping.
            self._write(PONG, payload)
            return None
        if opcode == PONG:
            self.pong = payload
            return None
        try:
            closed = _read_close(payload)
        except ProtocolError as exc:
            return self._fault(PROTOCOL_ERROR, str(exc))
        except UnicodeDecodeError as exc:
            return self._fault(INVALID_DATA, f"{exc.reason} at position {exc.start}")
        if self.open:
            # 5.5.1: the answer says the same.
            self._write(CLOSE, payload)
            self._sent = closed
            self.open = False
        # 7.1.1: both have sent theirs, and the server closes first.
        self.finished = True
        return closed

    def _fault(self, code: int, reason: str) -> Closed:
        self.fail(code, reason)
        # Where our close frame had been sent before, it is what both sides know of the end.
        return self._sent or Closed(code, reason)

    def ping(self, payload: bytes) -> None:
        """Send a ping; a pong with the same payload ends up in `pong`."""
        if self.open:
            self._write(PING, payload)

    def close(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake, unless it has begun; raises ProtocolError for a code that can't be sent."""
        if self.open:
            self._write(CLOSE, _close_payload(code, reason))
            self._sent = Closed(NO_STATUS if code is None else code, reason)
            self.open = False

    def fail(self, code: int, reason: str) -> None:
        """Send a close frame, if none was sent, and wait for none (7.1.7)."""
        self.close(code, reason)
        self.finished = True

    def data_to_send(self) -> bytes:
        """What is to be sent: pings, pongs and close frames."""
        writes, self._writes = self._writes, []
        return b"".join(writes)

    def _write(self, opcode: int, payload: bytes) -> None:
        if len(payload) > _MOST:
            raise ProtocolError("control frame too long")
        self._writes.append(bytes((_FIN | opcode, len(payload))) + payload)


def _read_close(payload: bytes) -> Closed:
    """What a close frame says (5.5.1)."""
    if not payload:
        return Closed(NO_STATUS, "")
    if len(payload) == 1:
        raise ProtocolError("close frame too short")
    code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
    _check_code(code)
    return Closed(code, reason)


def _close_payload(code: int | None, reason: str) -> bytes:
    if code is None:
        if reason:
            raise ProtocolError("cannot send a reason without a code")
        return b""
    _check_code(code)
    return _pack_code(code) + reason.encode()


def _check_code(code: int) -> None:
    if code not in _CODES and not 3000 <= code < 5000:
        raise ProtocolError("invalid status code")
