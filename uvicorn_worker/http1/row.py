"""What the reader of messages needs of its connection."""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.cycle import Connection, RequestCycle

__all__ = ["Row"]


class Row(Connection, Protocol):
    """What the reader needs of its connection, in which the requests stand in a row."""

    # The request whose turn it is, and those behind it.
    cycle: RequestCycle | None
    waiting: list[RequestCycle] | None
    # What the scopes of all its requests begin with.
    scope_base: dict[str, Any]
    # How much of bodies has come and was not taken by the application, and of empty lines between requests.
    buffered: int
    dropped: int

    def next_request(self) -> None:
        """The running request is done with."""

    def refuse(self, refusal: RequestRefused, start: bytes = b"", unread: RequestCycle | None = None) -> None:
        """Answer with an error and close, after the requests before have been answered.

        `start` is how the message began, where the parser could make nothing of it; `unread` is the request, where
        its head was read.
        """

    def pause_reading(self) -> None:
        """Let the client wait: what it has sent is enough for now."""
