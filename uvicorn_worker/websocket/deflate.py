"""permessage-deflate (RFC 7692): what is agreed on with a client, and messages packed and unpacked by it.

Windows of 4 KiB both ways and a small hash table: some 30 KiB for a connection that compresses, where zlib's defaults
take 300. Messages of a chat or of JSON compress nearly as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.websocket.errors import MessageTooBig, ProtocolError

__all__ = ["NAME", "PerMessageDeflate", "agree"]

NAME = "permessage-deflate"

# The most that is agreed on, as a power of two, and zlib's memLevel.
_BITS = 12
_MEMORY_LEVEL = 5

# A client that says nothing of its window has one of this size (7.1.2.2).
_MOST_BITS = 15

_WINDOWS = {str(bits): bits for bits in range(8, _MOST_BITS + 1)}

# 7.2.1: what ends the packed message, and is left out on the wire.
_TAIL = b"\x00\x00\xff\xff"

# To put the tail behind a small message copies less than to unpack it in a call of its own costs.
_SMALL = 2048


def agree(parameters: Sequence[tuple[str, str | None]]) -> tuple[str, PerMessageDeflate] | None:
    """What is agreed on for an offer, as the answer says it, and the extension; None where it is declined (7.1)."""
    offer = dict(parameters)
    if len(offer) < len(parameters):
        return None
    answer = [NAME]
    forgets = {}
    for name in ("server_no_context_takeover", "client_no_context_takeover"):
        forgets[name] = name in offer
        if forgets[name]:
            if offer.pop(name) is not None:
                return None
            answer.append(name)
    server_bits = _BITS
    if "server_max_window_bits" in offer:
        asked = _WINDOWS.get(offer.pop("server_max_window_bits") or "")
        # zlib can't write a window of 8 bits.
        if asked is None or asked == 8:
            return None
        server_bits = min(asked, _BITS)
        # Said to those only that have asked. Without, 7.1.2.1 allows it, but there are clients that refuse what they
        # did not offer; they take a larger window for granted, and that unpacks as well.
        answer.append(f"server_max_window_bits={server_bits}")
    client_bits = _MOST_BITS
    if "client_max_window_bits" in offer:
        # Without a value it says that the client can do with less.
        value = offer.pop("client_max_window_bits")
        theirs = _BITS if value is None else _WINDOWS.get(value)
        if theirs is None:
            return None
        client_bits = min(theirs, _BITS)
        answer.append(f"client_max_window_bits={client_bits}")
    if offer:
        return None
    extension = PerMessageDeflate(
        client_bits,
        server_bits,
        client_forgets=forgets["client_no_context_takeover"],
        server_forgets=forgets["server_no_context_takeover"],
    )
    return "; ".join(answer), extension


class PerMessageDeflate:
    """Both directions of one WebSocket. Who forgets begins each message with an empty window."""

    __slots__ = ("_packer", "_unpacker", "client_bits", "client_forgets", "server_bits", "server_forgets")

    def __init__(
        self, client_bits: int, server_bits: int, *, client_forgets: bool = False, server_forgets: bool = False
    ) -> None:
        self.client_bits = client_bits
        self.server_bits = server_bits
        self.client_forgets = client_forgets
        self.server_forgets = server_forgets
        # zlib's objects have no type that can be named.
        self._unpacker: Any = None if client_forgets else zlib.decompressobj(-client_bits)
        self._packer: Any = None if server_forgets else self._new_packer()

    def _new_packer(self) -> Any:
        return zlib.compressobj(wbits=-self.server_bits, memLevel=_MEMORY_LEVEL)

    def pack(self, message: bytes) -> bytes:
        """The payload of a message that is sent in one frame."""
        packer = self._packer or self._new_packer()
        data: bytes = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(_TAIL)]

    def unpack(self, data: bytes | bytearray, most: int, *, final: bool) -> bytes:
        """What comes of the payload of a frame; not of much more than `most` bytes.

        Raises `MessageTooBig` where that is not all, and `ProtocolError` for what is no packed data.
        """
        unpacker = self._unpacker
        if unpacker is None:
            # Kept for the other frames of the message.
            unpacker = self._unpacker = zlib.decompressobj(-self.client_bits)
        with_tail = final and len(data) < _SMALL
        try:
            piece: bytes = unpacker.decompress(data + _TAIL if with_tail else data, most)
            rest = unpacker.unconsumed_tail
            if final and not with_tail and not rest:
                # There may be something that was held back, when exactly `most` bytes had come.
                rest = unpacker.decompress(_TAIL, 1)
        except zlib.error:
            raise ProtocolError("decompression failed") from None
        if rest:
            raise MessageTooBig
        if final:
            if self.client_forgets:
                self._unpacker = None
            elif unpacker.eof:
                # 7.2.3.4: a block that says to be the last one, but is the last one of the message only.
                self._unpacker = zlib.decompressobj(-self.client_bits, zdict=piece)
        return piece
