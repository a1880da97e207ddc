"""What a WebSocket needs of the connection that it lives on: an HTTP/1.1 transport, or a stream of HTTP/2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from uvicorn_worker.core.asgi import Event

__all__ = ["Carrier", "Handshake", "Headers"]

Headers = Iterable[tuple[bytes, bytes]]


class Carrier(Protocol):
    """Carries the bytes of an open WebSocket."""

    @property
    def write_paused(self) -> bool:
        """Whether the client does not take what is sent."""

    def gather(self, data: bytes) -> None:
        """Send `data`; what is sent in one turn of the loop leaves in one write."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Read from the client again."""

    def allow_dropping(self, size: int) -> None:
        """The client is known to send `size` more bytes that nobody wants, and is to see why."""

    def close_gently(self) -> None:
        """Send what was gathered, then end our side; the rest of what comes is dropped."""

    def abort(self) -> None:
        """Cut the connection at once."""


class Handshake(Protocol):
    """Answers the request that asks for the WebSocket."""

    conn: Any
    """The connection, of HTTP/1.1 the carrier once the WebSocket is open."""

    def accept(self, session: Any, headers: list[tuple[bytes, bytes]]) -> tuple[Carrier, bytes]:
        """Open the WebSocket of `session`: answer 101 (or 200 on HTTP/2) with these fields.

        Gives the carrier, and the bytes that came after the handshake already.
        """

    async def respond(self, message: Event) -> None:
        """Deny the WebSocket with a response of http.response.start and .body messages."""

    def reject(self, status: int, text: bytes, headers: Headers = ()) -> None:
        """Deny the WebSocket with a short text where no answer was begun; else cut the connection, or the stream."""

    def is_ended_by(self, exc: BaseException) -> bool:
        """Whether an exception that has come out of the application ends its task, and is not the application's own."""

    def give_up(self) -> None:
        """End a handshake that nobody waits for any longer."""

    @property
    def peer(self) -> str:
        """The client's address for the log."""
