"""Streams of the native engine: their states, and the client's credit.

                 HEADERS
    IDLE ──────────────────► OPEN ───────────────► LOCAL_DONE        our end of the stream
                              │                        │
                              │ END_STREAM             │ END_STREAM
                              ▼                        ▼
                         REMOTE_DONE ───────────────► CLOSED
                                        our end

    from any of them: RST_STREAM of the client's ─► CLOSED, of our own ─► WAS_RESET ─► CLOSED, in time

Streams that are there have an object, those that are not have none, and their state is told by their number
(RFC 9113, 5.1). What a frame means in each state is in tables, at the end of engine.py and of
control.py.
"""

from __future__ import annotations

__all__ = ["CLOSED", "IDLE", "LOCAL_DONE", "OPEN", "REMOTE_DONE", "WAS_RESET", "Credit", "Stream", "WholeRequest"]

# Of streams that are there.
OPEN, LOCAL_DONE, REMOTE_DONE = range(3)
# Of those that are not: not yet; reset by us, so that frames of theirs may still be on their way; done with.
IDLE, WAS_RESET, CLOSED = range(3, 6)

# Credit is given back when this part of a window (one half) has been taken, so that not each read makes a frame.
_CREDIT_PART = 2
# A window that is closed is opened again as soon as so much was taken, so that a client does not stand still.
_WORTH_OPENING = 1024


class Stream:
    """A stream whose request is not complete.

    It has no constructor, and what is as it was in the beginning is kept in the class: most streams end untouched.
    """

    state = OPEN
    # Whether the head of the response was sent, but for one that was sent whole.
    answered = False
    # What WINDOW_UPDATE has added to the client's window less what was sent: the window itself is so much above
    # SETTINGS_INITIAL_WINDOW_SIZE, which may change (6.9.2).
    opened = 0
    # What is left of the body by Content-Length.
    left: int | None = None
    # Made for the first DATA.
    credit: Credit | None = None


class WholeRequest(Stream):
    """A stream whose request was complete with its head."""

    state = REMOTE_DONE


class Credit:
    """A window of ours, for what the client sends (6.9): of a stream, or of the connection."""

    __slots__ = ("most", "taken", "window")

    def __init__(self, size: int) -> None:
        self.window = self.most = size
        # What the application has taken and the client was not told of.
        self.taken = 0

    def give(self, size: int) -> int:
        """`size` bytes were taken; how much the client is to be told of now, 0 for nothing."""
        taken = self.taken = self.taken + size
        half = self.most // _CREDIT_PART
        if taken < half and (self.window or taken <= min(_WORTH_OPENING, self.most // 4)):
            return 0
        self.taken = 0
        # Less where the window was made smaller meanwhile.
        more = max(0, min(taken, self.most - self.window))
        self.window += more
        return more

    def shift(self, delta: int) -> None:
        """Our SETTINGS_INITIAL_WINDOW_SIZE is in force (6.9.2)."""
        self.most += delta
        self.window += delta
