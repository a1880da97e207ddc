"""Control frames by themselves: what can't be sent, and what is sent once."""

from __future__ import annotations

import pytest

from uvicorn_worker.websocket.control import CLOSE, PING, ControlFrames
from uvicorn_worker.websocket.errors import ProtocolError


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (1000, "x" * 124, "control frame too long"),
        (None, "x", "cannot send a reason without a code"),
        (1005, "", "invalid status code"),
        (2999, "", "invalid status code"),
        (5000, "", "invalid status code"),
    ],
)
def test_a_close_frame_that_can_not_be_sent(code: int | None, reason: str, message: str) -> None:
    control = ControlFrames()
    with pytest.raises(ProtocolError, match=f"^{message}$"):
        control.close(code, reason)
    # Nothing has happened: another one can be.
    assert (control.open, control.data_to_send()) == (True, b"")
    control.close(1000, "x" * 123)
    assert control.data_to_send() == b"\x88\x7d\x03\xe8" + b"x" * 123


def test_one_without_a_code() -> None:
    control = ControlFrames()
    control.close(None, "")
    assert control.data_to_send() == b"\x88\x00"


def test_one_is_sent_once_and_no_ping_behind_it() -> None:
    control = ControlFrames()
    control.close(1001, "")
    control.close(1000, "")
    control.ping(b"x")
    assert control.data_to_send() == b"\x88\x02\x03\xe9"
    assert not control.finished
    closed = control.receive(CLOSE, b"\x03\xe9")
    assert (closed and closed.code, control.finished, control.data_to_send()) == (1001, True, b"")


def test_a_ping_is_answered_while_the_clients_close_frame_is_awaited() -> None:
    control = ControlFrames()
    control.close(1001, "")
    control.data_to_send()
    assert control.receive(PING, b"x") is None
    assert control.data_to_send() == b"\x8a\x01x"


def test_a_fault_behind_our_close_frame_ends_it_as_that_has_said() -> None:
    control = ControlFrames()
    control.close(1001, "bye")
    control.data_to_send()
    closed = control.receive(CLOSE, b"\x03")
    assert closed is not None
    assert (closed.code, closed.reason, control.finished, control.data_to_send()) == (1001, "bye", True, b"")
