"""The count of what a client may do before it is too much: the same in both engines."""

from __future__ import annotations

from uvicorn_worker.http2.engine.codes import ErrorCode
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import Event, StreamReset
from uvicorn_worker.http2.engine.limits import (
    ANSWER_BACKLOG,
    CONTROL_BURST,
    CONTROL_PER_DATA,
    CONTROL_PER_REQUEST,
    CONTROL_PER_TICK,
    CONTROL_SAVED,
    RESET_BURST,
    RESET_PER_STREAM,
    RESET_PER_TICK,
)

__all__ = ["AbuseLimits"]


class AbuseLimits:
    """What a client has left of the limits in limits.py; the engine takes from it, and adds to it."""

    __slots__ = ("_answers", "_control", "_resets")

    def __init__(self) -> None:
        self._control = CONTROL_BURST
        self._resets = RESET_BURST
        # Frames that wait for data_to_send().
        self._answers = 0

    def tick(self) -> bool:
        """See `Engine`."""
        control, resets = self._control, self._resets
        if control < CONTROL_BURST:
            self._control = min(CONTROL_BURST, control + CONTROL_PER_TICK)
        else:
            self._control = min(CONTROL_SAVED, control)
        self._resets = min(RESET_BURST, resets + RESET_PER_TICK)
        return self._control == control and self._resets == resets

    def forget(self) -> None:
        """See `Engine`."""

    def reset(self, stream_id: int, code: int) -> None:
        """See `Engine`."""
        raise NotImplementedError

    def _fail_stream(self, stream_id: int, code: int, reason: str, events: list[Event]) -> None:
        """Reset a stream for a fault of the client's (5.4.2)."""
        self.reset(stream_id, code)
        self._count_answer()
        events.append(StreamReset(stream_id, code, reason))
        self._count_reset()

    def _count_reset(self) -> None:
        self._resets -= 1
        if self._resets < 0:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _count_refusal(self) -> None:
        """A request was let in and then refused by the protocol: it has earned nothing, and counts as a frame too many.

        There may be nobody to raise anything to; `_check_control()` does, with the next request.
        """
        self._control -= CONTROL_PER_REQUEST + 1
        self._answers += 1

    def _check_control(self) -> None:
        if self._control < 0:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many requests after which nothing is served")

    def _ended_well(self) -> None:
        """A response is complete."""
        self._control += CONTROL_PER_DATA
        self._resets += RESET_PER_STREAM

    def _count_control(self) -> None:
        self._control -= 1
        if self._control < 0:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _count_answer(self) -> None:
        self._answers += 1
        if self._answers > ANSWER_BACKLOG:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that want an answer")
