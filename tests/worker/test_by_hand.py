"""Which signals of a stop are a Ctrl+C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from uvicorn_worker.worker import by_hand
from uvicorn_worker.worker.by_hand import ByHand, in_foreground


@pytest.mark.parametrize("foreground", [True, False])
def test_int_drains_in_a_terminal_and_the_quit_that_follows_it_says_the_same(
    monkeypatch: pytest.MonkeyPatch, foreground: bool
) -> None:
    monkeypatch.setattr(by_hand, "in_foreground", lambda: foreground)
    stop = ByHand(always=False)
    assert not stop.drains(signal.SIGQUIT, False)
    assert not stop.repeats(signal.SIGQUIT)
    assert stop.drains(signal.SIGINT, False) is foreground
    assert stop.repeats(signal.SIGQUIT) is foreground
    assert not stop.repeats(signal.SIGQUIT)
    assert not stop.repeats(signal.SIGINT)


@pytest.mark.parametrize("foreground", [True, False])
def test_the_quit_that_comes_in_the_middle(monkeypatch: pytest.MonkeyPatch, foreground: bool) -> None:
    stop = ByHand(always=False)

    def look() -> bool:
        assert not stop.drains(signal.SIGQUIT, False)
        assert stop.repeats(signal.SIGQUIT)
        return foreground

    monkeypatch.setattr(by_hand, "in_foreground", look)
    assert stop.drains(signal.SIGINT, False) is foreground
    assert not stop.repeats(signal.SIGQUIT)


def test_a_second_ctrl_c_is_no_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "in_foreground", lambda: True)
    stop = ByHand(always=False)
    assert stop.drains(signal.SIGINT, False)
    assert not stop.repeats(signal.SIGINT)
    assert not stop.repeats(signal.SIGQUIT)


def test_where_int_always_drains_no_quit_is_awaited() -> None:
    stop = ByHand(always=True)
    assert stop.drains(signal.SIGINT, False)
    assert not stop.repeats(signal.SIGQUIT)


def test_where_int_always_drains_the_masters_term_may_come_first() -> None:
    stop = ByHand(always=True)
    assert stop.drains(signal.SIGINT, True)
    assert not stop.drains(signal.SIGINT, True)


def test_another_stop_is_cut_by_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "in_foreground", lambda: True)
    assert not ByHand(always=False).drains(signal.SIGINT, True)


@pytest.mark.parametrize("foreground", [True, False])
def test_only_a_quit_in_a_terminal_may_have_overtaken(monkeypatch: pytest.MonkeyPatch, foreground: bool) -> None:
    monkeypatch.setattr(by_hand, "in_foreground", lambda: foreground)
    stop = ByHand(always=False)
    assert stop.may_have_overtaken(signal.SIGQUIT, False) is foreground
    assert not stop.may_have_overtaken(signal.SIGQUIT, True)
    assert not stop.may_have_overtaken(signal.SIGINT, False)
    assert not ByHand(always=True).may_have_overtaken(signal.SIGQUIT, False)


def test_in_the_foreground_of_a_terminal() -> None:
    """The leader of a session gets the terminal that it opens first for its own."""
    ours, its = pty.openpty()
    program = (
        "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR));"
        "from uvicorn_worker.worker.by_hand import in_foreground; sys.exit(0 if in_foreground() else 2)"
    )
    try:
        done = subprocess.run([sys.executable, "-c", program], stdin=its, start_new_session=True, check=False)
    finally:
        os.close(ours)
        os.close(its)
    assert done.returncode == 0


def test_without_a_terminal_and_with_one_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(write)
    monkeypatch.setattr(os, "open", lambda *_: read)
    assert not in_foreground()

    def absent(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "open", absent)
    assert not in_foreground()
