"""What a board says, as plain values: for `uvicorn-worker status`, `top` and the metrics.

Reading takes no lock and asks nobody, so it works when every worker stands still.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, field
from typing import Any

from uvicorn_worker.board.board import BEAT_SECONDS, BOOTING, ENDED, FAILED, SERVING, TOLD, Board, Slot
from uvicorn_worker.board.ends import CAUSES, End, ends_of, requests_served
from uvicorn_worker.core.figures import COUNTERS, GAUGES, quantile
from uvicorn_worker.core.kernel import is_alive
from uvicorn_worker.core.records import record

__all__ = ["BoardReading", "WorkerReading", "read_board"]

_STATES = {BOOTING: "booting", SERVING: "serving", FAILED: "failed", TOLD: "draining", ENDED: "draining"}
STALLED = "stalled"


@record(frozen=True, eq=False, repr=False)
class WorkerReading:
    """One worker that is there; times in seconds, memory in bytes."""

    pid: int
    age: int
    state: str
    """booting, serving, draining, failed; or stalled: its loop has stood still for longer than a beat."""
    up: float
    """Since its process was made."""
    beat: float
    """How long ago it last said that it is well."""
    served: int
    oldest: str
    """The request that has been in flight for the longest time: method and path."""
    oldest_age: float
    lag: float
    lag_most: float
    p50: float
    p90: float
    p99: float
    figures: dict[str, int]
    """By the names of core/figures.py."""

    @property
    def is_ready(self) -> bool:
        """Whether it serves, and has reached none of its limits."""
        return self.state == "serving" and not self.figures["at_limit"]


@record(frozen=True, eq=False, repr=False)
class BoardReading:
    """All workers of one master."""

    master: int
    up: float
    wanted: int
    workers: list[WorkerReading]
    totals: dict[str, int]
    """The counters of all workers that there are, and were."""
    served: int
    p50: float
    p90: float
    p99: float
    ends: list[End] = field(default_factory=list)
    """The last one first."""
    paths: dict[str, dict[str, int]] = field(default_factory=dict)
    """What is counted apart, by the prefixes of the option `paths`; by the names of `PATH_COUNTERS`."""
    alive: bool = True
    """Whether the master is there; workers that it has left behind leave by themselves."""
    ended: dict[str, int] = field(default_factory=dict)
    """How many workers have ended by which cause; those the master has not looked at yet are not among them."""

    @property
    def gauges(self) -> dict[str, int]:
        """The sum over the workers; of lags, the highest."""
        found = {}
        for figure in GAUGES:
            values = [worker.figures[figure.name] for worker in self.workers]
            found[figure.name] = max(values, default=0) if figure.name.startswith("lag") else sum(values)
        return found

    @property
    def is_ready(self) -> bool:
        """Whether a worker serves, and has reached none of its limits."""
        return any(worker.is_ready for worker in self.workers)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ready": self.is_ready}


def read_board(board: Board) -> BoardReading:
    """What stands on it now."""
    now = time.monotonic()
    totals, paths = board.totals()
    return BoardReading(
        master=board.owner,
        up=now - board.begun,
        wanted=board.wanted,
        workers=sorted((_read_slot(slot, now) for slot in _there(board)), key=lambda worker: worker.age),
        totals=totals,
        served=requests_served(totals),
        p50=quantile(totals, 0.5),
        p90=quantile(totals, 0.9),
        p99=quantile(totals, 0.99),
        ends=list(ends_of(board)),
        paths=paths,
        alive=is_alive(board.owner),
        ended={cause: number for cause, number in zip(CAUSES, board.ended_by_cause, strict=False) if number},
    )


def _there(board: Board) -> Iterable[Slot]:
    return [slot for slot in board if slot.pid and not slot.buried and slot.alive]


def _read_slot(slot: Slot, now: float) -> WorkerReading:
    figures = slot.figures
    counters = {figure.name: figures[figure.name] for figure in COUNTERS}
    silence = now - max(slot.beat / 1e9, slot.since)
    state = _STATES.get(slot.state, "booting")
    if state in ("serving", "draining") and silence > BEAT_SECONDS:
        state = STALLED
    since = figures["oldest_since"] / 1e9
    return WorkerReading(
        pid=slot.pid,
        age=slot.age,
        state=state,
        up=now - slot.made,
        beat=silence,
        served=requests_served(figures),
        oldest=slot.oldest if since else "",
        oldest_age=max(now - since, 0.0) if since else 0.0,
        lag=figures["lag"] / 1e9,
        lag_most=figures["lag_most"] / 1e9,
        p50=quantile(counters, 0.5),
        p90=quantile(counters, 0.9),
        p99=quantile(counters, 0.99),
        figures=figures,
    )
