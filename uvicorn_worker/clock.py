"""What is computed once a tick instead of once a request: the Date line, and the count of ticks.

A connection's deadline is a number of ticks, so that setting one is an integer store. Half a second
is fine enough for every timeout of the server: a deadline is met at most one tick late, never early.
"""

from __future__ import annotations

import math
from email.utils import formatdate

__all__ = ["TICK", "date_line", "ticks"]

TICK = 0.5
"""Seconds between two ticks."""


def ticks(seconds: float) -> int:
    """How many ticks from now on guarantee that at least `seconds` have passed.

    One more than the quotient, since the tick that is under way has begun already.
    """
    return math.ceil(seconds / TICK) + 1


def date_line(now: float) -> bytes:
    """The Date field line (RFC 9110, 6.6.1) for the Unix time `now`, with its line end."""
    return b"date: " + formatdate(now, usegmt=True).encode("ascii") + b"\r\n"
