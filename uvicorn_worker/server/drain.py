"""The one way in which a server comes to its end, whatever the reason.

    delay ─► close the doors ─► requests end ─────────────────► tell ─► cut ─► (the lifespan shutdown) ─► end
    accepting  queues emptied    idle connections are served    http.   cancel
               listeners closed  for timeout_drain_idle, closed disconnect
                                 WebSockets, then long polls,
                                 are told one after the other

All of it is counted from the signal, and `end` is timeout_graceful_shutdown after it. Towards the end time is kept
back: for applications that wait for http.disconnect (from `tell` to `cut`), and then for the lifespan shutdown.
docs/design/lifecycle.md has the rule for each event.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from uvicorn_worker.core.address import of_this_machine
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.log import OwnLog, count
from uvicorn_worker.core.runtime import Connection, CycleView, Runtime
from uvicorn_worker.logs.in_flight import census, describe_cycles, named_cycles
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.opening import UnderWay

__all__ = ["Drain", "Schedule"]

# Of the time for a graceful stop this part is kept back at its end, and no more seconds than the limit:
# half of it for applications that were told of the disconnect, half for the lifespan shutdown.
_RESERVE_PART = 0.2
_RESERVE_LIMIT = 4.0
# And of it what the process needs to end, hooks and all.
_EXIT_PART = 0.05
_EXIT_LIMIT = 0.5

# How long idle connections are served where `timeout_drain_idle` does not say. What a client on this machine has sent
# is here at once, so it need not be waited for where nobody else serves on: a stop by Ctrl+C, or in code.
_IDLE_SECONDS = 1.0
_NEAR_IDLE_SECONDS = 0.1
# How long a TLS handshake that was accepted has at least. One that the client has begun has longer: it is about to ask,
# and a packet that was lost, or a client that has just started, takes more than a second.
_HANDSHAKE_SECONDS = 1.0
_BEGUN_HANDSHAKE_SECONDS = 5.0
# How often idle connections are looked for, which nobody tells of; the end of the last request is told.
_STEP = 0.1
_LEAST_STEP = 0.02
# How many idle connections are closed in one turn of the loop: a connection looks whether bytes have come and then
# closes, and from the one to the other is the rest of the turn. No more WebSockets are told in one, either.
_BATCH = 64
# For how long that may go on before the time is looked at.
_ROUND_SECONDS = 0.5

# WebSockets and long polls, whose clients come back at once, are told at this rate where their time allows it.
_TOLD_PER_SECOND = 100
# The time in which all of them are told: this part of that of the stop; or so many seconds where it has no end.
_SPREAD_PART = 0.2
_SPREAD_SECONDS = 6.0
# What was missed within so many seconds is made up for at once. It is not less, since a process that hardly gets to run
# is held up at every step.
_CATCH_UP_SECONDS = 1.0

_REPORT_SECONDS = 2.0
# How many of the requests that are cut are named.
_NAMED = 20

# How long cancelled tasks may take to end.
_CANCEL_SECONDS = 0.5


class Schedule:
    """The points in time of a stop, as `time.monotonic()`; infinite where `timeout` is None."""

    def __init__(self, begun: float, timeout: float | None) -> None:
        if timeout is None:
            self.tell = self.cut = self.lifespan = self.end = math.inf
            return
        reserve = min(timeout * _RESERVE_PART, _RESERVE_LIMIT)
        self.end = begun + timeout
        self.tell = self.end - reserve
        self.cut = self.end - reserve / 2
        # When the application's shutdown must be complete.
        self.lifespan = self.end - min(timeout * _EXIT_PART, _EXIT_LIMIT)


def _spread(config: Config) -> float:
    """Within how many seconds those who would be back at once are told."""
    if config.timeout_drain_spread is not None:
        return config.timeout_drain_spread
    timeout = config.timeout_graceful_shutdown
    return _SPREAD_SECONDS if timeout is None else timeout * _SPREAD_PART


def _is_near(connection: Connection) -> bool:
    """Whether its client is on this machine; one that has said nothing yet has its time anyway."""
    return hasattr(connection, "client") and of_this_machine(connection.client)


class Drain:
    """Ends what is under way; `changed` wakes it early, `forced()` says that it is to end at once."""

    def __init__(
        self,
        runtime: Runtime,
        acceptor: Acceptor,
        schedule: Schedule,
        changed: asyncio.Event,
        forced: Callable[[], bool],
        by_hand: bool = False,
        in_code: bool = False,
    ) -> None:
        """`by_hand`: by Ctrl+C, so that somebody looks at the log; `in_code`: by the program around the server."""
        self._runtime = runtime
        self._acceptor = acceptor
        self._schedule = schedule
        self._changed = changed
        self._forced = forced
        self._by_hand = by_hand
        self._log = OwnLog()
        self._begun = time.monotonic()
        self._next_report = math.inf
        self._level = logging.INFO
        self._told = False
        # How long idle connections are served; and since when each has been idle.
        seconds, left = runtime.config.timeout_drain_idle, max(schedule.tell - self._begun, 0.0)
        self._patience = min(_IDLE_SECONDS if seconds is None else seconds, left)
        self._soon = seconds is None and (by_hand or in_code)
        self._near_patience = min(_NEAR_IDLE_SECONDS, left) if self._soon else self._patience
        self._idle: dict[Connection, float] = {}
        # And since when each handshake has been under way.
        self._handshakes: dict[UnderWay, float] = {}
        self._spread = _spread(runtime.config)
        # The most long polls that there were at once.
        self._polls = 0
        self.before_cut: Callable[[], object] | None = None
        """Called when the time of what runs is over, one turn of the loop before it is cancelled."""

    # Waiting -----------------------------------------------------------------------------------------

    async def delay(self, seconds: float) -> None:
        """Go on accepting, while whoever sends us requests learns that we are leaving."""
        until = min(time.monotonic() + seconds, self._schedule.tell)
        while not self._forced() and (left := until - time.monotonic()) > 0:
            self._log.info("Stopping: accepting for another %.1f s (%s).", left, self._census())
            await self._wait(min(left, _REPORT_SECONDS))

    async def run(self, *, replaced_later: bool = False) -> None:
        """Close the doors, and wait until nothing is under way or the time is over; then cut what is left.

        `replaced_later` says that nobody takes our place before we are gone, and that nobody else reads our sockets:
        they are closed only when what was under way at the beginning is done.
        """
        runtime = self._runtime
        runtime.draining, runtime.hurries = True, self._soon
        if self._forced():
            self._acceptor.close()
            await self._cut()
            return
        if not replaced_later:
            await self._acceptor.stop()
        runtime.watch_cycles(self._tell_if_empty)
        runtime.watch_connections(self._tell_if_empty)
        for connection in list(runtime.connections):
            connection.drain()
        # A worker that has nothing to do leaves without a word: a reload of many would be many words.
        self._level = logging.INFO if self._left else logging.DEBUG
        websockets = asyncio.ensure_future(self._drain_websockets([each for each in runtime.cycles if each.websocket]))
        self._report("Draining")
        if replaced_later:
            begun_with = {*runtime.cycles, *runtime.connections}
            await self._wait_for(
                lambda: not begun_with.isdisjoint(runtime.cycles) or not begun_with.isdisjoint(runtime.connections)
            )
            await self._acceptor.stop()
        await self._wait_for(lambda: self._left)
        websockets.cancel()
        await self._cut()

    async def _drain_websockets(self, cycles: list[CycleView]) -> None:
        """Close them with 1012 one after the other; one that opens meanwhile is closed at once."""
        pause = planned = self._pause(len(cycles))
        due = time.monotonic()
        end = due + len(cycles) * pause
        at_once = 0
        for number, cycle in enumerate(cycles):
            now = time.monotonic()
            if now < due:
                await asyncio.sleep(due - now)
                at_once = 0
            elif at_once == _BATCH:
                # On a machine that has no time for us, to tell one may take longer than the pause behind it.
                await asyncio.sleep(0)
                at_once = 0
            if planned and now - due > _CATCH_UP_SECONDS:
                # We were held up for long. No more than a second's worth are told in one moment for that; the others
                # go on evenly, at twice the rate at most.
                pause = max((end - now) / (len(cycles) - number), planned / 2)
                due = now - _CATCH_UP_SECONDS / planned * pause
            cycle.drain()
            at_once += 1
            due += pause

    def _pause(self, count: int) -> float:
        """From one of so many to the next."""
        return min(1 / _TOLD_PER_SECOND, self._spread / count) if count else 0.0

    def _disconnect_polls(self) -> None:
        """Tell as many long polls that there is nobody to answer as have their turn in this step."""
        polls = [cycle for cycle in self._runtime.cycles if cycle.only_waits]
        self._polls = max(self._polls, len(polls))
        pause = self._pause(self._polls)
        for cycle in polls[: math.ceil(_STEP / pause) if pause else len(polls)]:
            cycle.disconnect()

    async def _wait_for(self, left: Callable[[], bool]) -> None:
        """Wait until nothing is `left`, or until the time is over."""
        schedule = self._schedule
        while left() and not self._forced():
            now = time.monotonic()
            await self._close_idle(now)
            if not self._told and now >= schedule.tell:
                self._told = True
                for cycle in list(self._runtime.cycles):
                    cycle.disconnect()
            elif now >= schedule.cut:
                if self.before_cut is not None:
                    self.before_cut()
                    await asyncio.sleep(0)
                break
            elif now - self._begun >= self._patience:
                self._disconnect_polls()
            if now >= self._next_report:
                self._report("Still draining")
            # Never from before `tell` to after `cut`, however late this comes.
            point = schedule.cut if self._told else schedule.tell
            await self._wait(min(_STEP, max(point - now, _LEAST_STEP)))

    @property
    def _left(self) -> bool:
        runtime = self._runtime
        return bool(runtime.cycles or runtime.connections or self._acceptor.pending)

    def _tell_if_empty(self) -> None:
        if not self._left:
            self._changed.set()

    async def _wait(self, seconds: float) -> None:
        """Wait for so long, or until something has changed."""
        # No wait_for(): where a tool has loaded asyncio for a second time, what comes out of it is a CancelledError in
        # place of a TimeoutError, and would end the server with all that it is to wait for.
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([changed], timeout=max(seconds, 0))
        finally:
            changed.cancel()
        if not self._forced():
            self._changed.clear()

    # Idle connections --------------------------------------------------------------------------------

    async def _close_idle(self, now: float) -> None:
        """Close what has been idle for long enough; what is being closed already is not to linger for long."""
        before, patience, near = self._idle, self._patience, self._near_patience
        self._idle = {
            connection: before.get(connection, now) for connection in self._runtime.connections if connection.idle
        }
        begun, idle = self._begun, self._idle
        if now - begun >= patience:
            for connection in [each for each in self._runtime.connections if each not in idle]:
                # Most do not close now, so no turn needs to pass: rounds are not to be long for many WebSockets.
                connection.close_if_idle()
        # A new one has its second, as long as there is time: its client would not know why it gets no answer.
        over = now >= self._schedule.tell
        ripe = [
            connection
            for connection, since in idle.items()
            if now - since >= (near if _is_near(connection) else patience) and (connection.rest_until >= 0 or over)
        ]
        for start in range(0, len(ripe), _BATCH):
            for connection in ripe[start : start + _BATCH]:
                connection.close_if_idle()
            await asyncio.sleep(0)
            if time.monotonic() - now >= _ROUND_SECONDS:
                # The rest have their turn in the next round.
                break
        # A handshake that has not ended in its time is as idle as a connection without a request. One may have begun
        # only now: behind a header of the PROXY protocol, or where connections are still accepted.
        handshakes = self._handshakes
        self._handshakes = {each: handshakes.get(each, now) for each in self._acceptor.handshakes}
        for each, since in self._handshakes.items():
            begun = getattr(each, "begun", False)
            if now - since >= max(patience, _BEGUN_HANDSHAKE_SECONDS if begun else _HANDSHAKE_SECONDS):
                each.cancel()

    # The end -----------------------------------------------------------------------------------------

    async def _cut(self) -> None:
        """Cancel what still runs, and close every connection."""
        runtime = self._runtime
        cycles = list(runtime.cycles)
        self._say_what_is_cut()
        tasks = [cycle.task for cycle in cycles if cycle.task is not None]
        for cycle in cycles:
            if cycle.websocket:
                # Before the application closes it with another code, as many do where they are cancelled.
                cycle.drain()
            cycle.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
        for cycle in cycles:
            # A task that was cancelled before its first step has not run its own clean-up.
            cycle.abandon()
        self._acceptor.abort()
        await asyncio.sleep(0)
        for connection in list(runtime.connections):
            connection.abort()
        # One turn for connection_lost, one for what it wakes.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    # The log -----------------------------------------------------------------------------------------

    def _census(self) -> str:
        runtime = self._runtime
        return str(census(runtime.cycles, runtime.connections, self._acceptor.pending))

    def _report(self, what: str) -> None:
        now = time.monotonic()
        self._next_report = now + _REPORT_SECONDS
        left = self._schedule.cut - now
        time_left = "no time limit" if left == math.inf else f"{max(left, 0.0):.1f} s left"
        cycles = self._runtime.cycles
        if self._by_hand and cycles:
            self._log.log(
                self._level,
                "Waiting for %s (%s), Ctrl+C again ends at once.",
                count(len(cycles), "request"),
                named_cycles(cycles, now),
            )
            return
        self._log.log(self._level, "%s: %s; %s.", what, self._census(), time_left)

    def _say_what_is_cut(self) -> None:
        runtime, now = self._runtime, time.monotonic()
        seconds = now - self._begun
        awaited = any(not connection.lingering for connection in runtime.connections)
        if not (runtime.cycles or awaited or self._acceptor.pending):
            self._log.log(self._level, "Drained in %.1f s: nothing was cut.", seconds)
            return
        lines = describe_cycles(runtime.cycles, now)
        if len(lines) > _NAMED:
            lines[_NAMED:] = [f"and {count(len(lines) - _NAMED, 'more request')}"]
        level = logging.ERROR if lines else logging.WARNING
        if self._forced():
            level = logging.WARNING if lines else logging.INFO
        self._log.log(
            level,
            "Cutting what is left after %.1f s: %s %s%s",
            seconds,
            self._census(),
            explained("it-does-not-stop-or-takes-long-to"),
            "".join(f"\n  {line}" for line in lines),
        )
