"""Why workers end: what each says of itself before it does, and what the master makes of one that said nothing.

A worker writes its cause into its slot as soon as it knows it. Once its process is gone the master `bury`s it: its end
is kept on the board, among the last 64.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

from uvicorn_worker.board.board import BOOTING, FAILED, TOLD, Board, Slot
from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.figures import PROTOCOLS
from uvicorn_worker.core.log import count
from uvicorn_worker.core.records import record

__all__ = [
    "BLOCKED",
    "CAUSES",
    "CODE_CHANGED",
    "CRASHED",
    "EXIT",
    "LIFETIME",
    "MAX_REQUESTS",
    "MEMORY",
    "NOT_BOOTED",
    "ORPHANED",
    "RELOAD",
    "SURPLUS",
    "TOLD_TO",
    "End",
    "bury",
    "ends_of",
    "requests_served",
]

# The words for the causes; a worker, or the master (RELOAD, SURPLUS), writes the number.
CAUSES = (
    "not known",
    "max_requests",
    "memory",
    "lifetime",
    "told",
    "reload",
    "TTOU",
    "code changed",
    "blocked",
    "not booted",
    "exit",
    "failed",
    "master gone",
    "killed",
    "killed while leaving",
)
(
    UNKNOWN, MAX_REQUESTS, MEMORY, LIFETIME, TOLD_TO, RELOAD, SURPLUS, CODE_CHANGED, BLOCKED, NOT_BOOTED, EXIT, CRASHED,
    ORPHANED, KILLED, KILLED_LEAVING,
) = range(len(CAUSES))  # fmt: skip

_WORDS = {
    MAX_REQUESTS: "max_requests is reached",
    MEMORY: "limit_max_memory is passed",
    LIFETIME: "worker_lifetime is over",
    TOLD_TO: "told to leave",
    RELOAD: "told to leave: reload",
    SURPLUS: "told to leave: there are more than workers says",
    CODE_CHANGED: "a source file has changed",
    BLOCKED: "blocked: no heartbeat within timeout",
    NOT_BOOTED: "could not boot",
    CRASHED: "an error of the worker itself",
    ORPHANED: "its master is gone",
    KILLED_LEAVING: "killed while it was leaving",
}
# Wishes of the master, of which the log has its own lines.
_WISHED = frozenset({TOLD_TO, RELOAD, SURPLUS, CODE_CHANGED, ORPHANED, NOT_BOOTED})
_OF_ITSELF = frozenset({MAX_REQUESTS, MEMORY, LIFETIME})


@record(frozen=True, eq=False, repr=False)
class End:
    """What is known of a worker that has gone; seconds, and bytes."""

    pid: int
    age: int
    cause: str
    """One of `CAUSES`."""
    reason: str
    """The same, in words."""
    detail: int
    """The number of the signal, or the exit code; 0 where there is none."""
    at: float
    """When it was seen that it has gone: Unix time."""
    lived: float
    """From the fork to when it last said that it is well."""
    served: int
    rss: int
    requests: int
    """In flight, as it said last; what is below, too."""
    websockets: int
    oldest: str
    """The longest of them: method and path."""
    oldest_age: float

    @property
    def is_wished(self) -> bool:
        """Whether the master wanted it, or has said it already."""
        return CAUSES.index(self.cause) in _WISHED

    @property
    def is_planned(self) -> bool:
        """Whether it wanted this itself, by a limit."""
        return CAUSES.index(self.cause) in _OF_ITSELF

    def __str__(self) -> str:
        lines = [
            f"Worker {self.pid} has ended: {self.reason}.",
            (
                f"It lived for {self.lived:.1f} s, served {count(self.served, 'request')}, "
                f"and had {self.rss >> 20} MiB of memory."
            ),
        ]
        if self.requests or self.websockets:
            lines.append(f"In flight: {count(self.requests, 'request')}, {count(self.websockets, 'WebSocket')}.")
        if self.oldest:
            lines.append(f"The longest: {self.oldest} for {self.oldest_age:.1f} s.")
        if not self.is_planned:
            lines.append(explained("a-worker-is-gone"))
        return "\n  ".join(lines)


def requests_served(figures: dict[str, int]) -> int:
    """How many responses there were, of all protocols and statuses."""
    words = tuple(protocol.replace("/", "").replace(".", "") + "_" for protocol in PROTOCOLS)
    return sum(number for name, number in figures.items() if name.startswith(words) and name.endswith("xx"))


def bury(board: Board, timeout: float = 0, status_of: Callable[[int], int | None] | None = None) -> list[End]:
    """Keep the ends of the workers that have gone since it was called last; called in the master.

    `timeout` is after how long without heartbeat it kills. `status_of` gives the exit code of a process, the negative
    number of a signal, or None where that is not known.
    """
    found = []
    for slot in board:
        if slot.pid and not slot.buried and not slot.alive:
            cause, detail = _cause_of(slot, timeout, None if status_of is None else status_of(slot.pid))
            end = _end_of(slot, cause, detail, time.time())
            words = [
                slot.pid, slot.age, cause, detail, int(end.at * 1e9), int(end.lived * 1e9), end.served, end.rss,
                end.requests, end.websockets, int(end.oldest_age * 1e9),
            ]  # fmt: skip
            board.keep_end(words, end.oldest)
            slot.buried = True
            found.append(end)
    return found


def ends_of(board: Board) -> Iterator[End]:
    """The ends that are known, the last one first; those the master has not looked at yet are among them."""
    unseen = [
        _end_of(slot, *_cause_of(slot, 0, None), time.time())
        for slot in board
        if slot.pid and not slot.buried and not slot.alive
    ]
    kept = [_kept_end(words, text) for words, text in board.kept_ends()]
    # The master may have looked at one meanwhile.
    known = {(end.pid, end.age) for end in kept}
    yield from (end for end in unseen if (end.pid, end.age) not in known)
    yield from kept


def _kept_end(words: list[int], text: str) -> End:
    pid, age, cause, detail, at, lived, served, rss, requests, websockets, oldest_age, *_ = words
    return End(
        pid, age, CAUSES[cause], _reason(cause, detail), detail, at / 1e9, lived / 1e9, served, rss, requests,
        websockets, text, oldest_age / 1e9,
    )  # fmt: skip


def _cause_of(slot: Slot, timeout: float, status: int | None) -> tuple[int, int]:
    """Why a worker has gone, and the number that belongs to it: what it said, or what can be seen."""
    cause, detail = slot.cause
    if cause not in _OF_ITSELF and (slot.state == TOLD or cause in _WISHED):
        cause = slot.wish or cause or TOLD_TO
    if slot.left and cause:
        return cause, detail
    if cause in (BLOCKED, NOT_BOOTED, EXIT, CRASHED):
        return cause, detail
    if slot.state == FAILED:
        return NOT_BOOTED, 0
    if cause:
        return KILLED_LEAVING, -(status or 0)
    if status is not None and status >= 0:
        return (UNKNOWN, 0) if slot.left else (EXIT, status)
    if timeout and slot.state != BOOTING and time.monotonic() - slot.beat / 1e9 > timeout:
        return BLOCKED, 0
    return (UNKNOWN, 0) if slot.left else (KILLED, -(status or 0))


def _end_of(slot: Slot, cause: int, detail: int, at: float) -> End:
    figures = slot.figures
    last = max(slot.beat / 1e9, slot.since)
    since = figures["oldest_since"] / 1e9
    # One that did not leave in order goes on until it was seen that it has gone, or about then.
    until = last if slot.left else time.monotonic()
    return End(
        pid=slot.pid, age=slot.age, cause=CAUSES[cause], reason=_reason(cause, detail), detail=detail, at=at,
        lived=max(until - slot.made, 0.0), served=requests_served(figures), rss=figures["rss"],
        requests=figures["requests"], websockets=figures["websockets"], oldest=slot.oldest if since else "",
        oldest_age=max(until - since, 0.0) if since else 0.0,
    )  # fmt: skip


def _reason(cause: int, detail: int) -> str:
    if cause == KILLED:
        if not detail:
            return "killed from outside, or crashed: SIGKILL perhaps, by the kernel where memory is short"
        name = _signal_name(detail)
        more = ", perhaps by the kernel since memory is short" if name == "SIGKILL" else ""
        return f"killed by signal {name} from outside{more}" if name == "SIGKILL" else f"killed by signal {name}"
    if cause == EXIT:
        return f"its process has exited with code {detail}"
    return _WORDS.get(cause, CAUSES[cause])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
