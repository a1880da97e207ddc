"""The handshake as the websockets library checks and negotiates it, behind what `negotiate` gives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol

from uvicorn_worker.core.config import Config
from uvicorn_worker.websocket.handshake import Refusal, negotiate

if TYPE_CHECKING:
    from websockets.extensions.base import Extension
    from websockets.typing import ExtensionParameter

__all__ = ["Answer", "our_answer", "their_answer"]

_silent = logging.getLogger("tests.websocket.handshake_reference")
_silent.propagate = False
_silent.setLevel(logging.CRITICAL)


class _SaysWhatIsAsked(ServerPerMessageDeflateFactory):
    """Of the server's window the library speaks to every client, and we to those that have asked."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, extension = super().process_request_params(params, accepted_extensions)
        window = "server_max_window_bits"
        if window not in dict(params):
            assert (window, "12") in answer
            answer = [(name, value) for name, value in answer if name != window]
        return answer, extension


_DEFLATE = _SaysWhatIsAsked(server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5})
_OF_THE_HANDSHAKE = ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions")


@dataclass(frozen=True)
class Answer:
    """What a client is told, and how its messages are compressed: who forgets, and the windows."""

    status: int
    reason: str
    headers: Sequence[tuple[bytes, bytes]]
    deflate: tuple[bool, bool, int, int] | None


def our_answer(headers: list[tuple[bytes, bytes]], *, compress: bool = True) -> Answer:
    agreed = negotiate(Config(app="x:y", ws_per_message_deflate=compress), headers)
    if isinstance(agreed, Refusal):
        return Answer(agreed.status, agreed.reason, list(agreed.headers), None)
    deflate = agreed.deflate
    if deflate is None:
        return Answer(101, "", agreed.headers, None)
    used = (deflate.client_forgets, deflate.server_forgets, deflate.client_bits, deflate.server_bits)
    return Answer(101, "", agreed.headers, used)


def their_answer(headers: list[tuple[bytes, bytes]], *, compress: bool = True) -> Answer:
    fields = Headers()
    for name, value in headers:
        if name == b"sec-websocket-protocol" or (name == b"sec-websocket-extensions" and not value):
            # The library refuses subprotocols that are no tokens and an empty list of extensions, and we do not.
            continue
        fields[name.decode("latin-1")] = value.decode("latin-1")
    engine = ServerProtocol(extensions=[_DEFLATE] if compress else None, logger=_silent)
    response = engine.accept(Request("/", fields))
    if response.status_code == 101:
        given = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() in _OF_THE_HANDSHAKE
        ]
        for extension in engine.extensions:
            assert isinstance(extension, PerMessageDeflate)
            used = (
                extension.remote_no_context_takeover,
                extension.local_no_context_takeover,
                extension.remote_max_window_bits,
                extension.local_max_window_bits,
            )
            return Answer(101, "", given, used)
        return Answer(101, "", given, None)
    exc = engine.handshake_exc
    if isinstance(exc, InvalidHeaderValue) and exc.name == "Sec-WebSocket-Version":
        return Answer(426, str(exc), [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")], None)
    return Answer(400 if response.status_code == 426 else response.status_code, str(exc), [], None)
