"""What applications reach for behind `receive` and `send`, by the names that uvicorn has for it.

    send.__self__.transport          a certificate, a socket's option, the abort of a connection
    receive.__self__.disconnected    asked again and again by one that sends without an end

ASGI has nothing of the kind: it is there for what was written for uvicorn, and costs nobody else anything.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.stages import AWAIT_START, DONE

__all__ = ["Reached"]


class Reached:
    """The part of a request's cycle that is there for them."""

    __slots__ = ()

    conn: Any
    gone: bool
    lost: bool
    stage: int

    @property
    def transport(self) -> Any:
        """The connection's, of HTTP/2 that of all its requests."""
        return self.conn.transport

    @property
    def disconnected(self) -> bool:
        """Whether `receive()` says so, or nothing can be sent any more."""
        return self.gone or self.lost

    @property
    def response_started(self) -> bool:
        """Whether http.response.start was sent."""
        return self.stage > AWAIT_START

    @property
    def response_complete(self) -> bool:
        """Whether all of the response was."""
        return self.stage == DONE
