"""The figures of a worker: the one table of what stands on the board beside its state, and what is counted for it.

    Tally       what the hot path counts, as plain numbers of Python
    FIGURES     name, kind, unit, meaning and metric of each word; the order is that of the words in a slot
    words_of    figures by their names, as words

A gauge says how it is, a counter only grows. All of them are whole numbers: seconds are counted in nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

__all__ = [
    "BOUNDS",
    "BUCKETS",
    "CLASSES",
    "COUNTERS",
    "FIGURES",
    "GAUGES",
    "MOST_SPANS",
    "PATH_COUNTERS",
    "PROTOCOLS",
    "REFUSALS",
    "Figure",
    "Tally",
    "quantile",
    "words_of",
]

PROTOCOLS = ("http/1.1", "http/2", "websocket")
"""What a response was sent by; a WebSocket is one response, that to its handshake."""
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

# The upper bounds of the buckets of durations, in seconds; that of the last is infinite.
BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    float("inf"),
)  # fmt: skip

REFUSALS = {
    400: "malformed",
    408: "too_slow",
    413: "body_too_large",
    431: "head_too_large",
    503: "overload",
}
"""Why a request was refused by the server itself, by the status of the answer; see also `Tally.refused`."""
_OTHER_REFUSALS = ("flood", "other")

MOST_SPANS = 256
"""How many durations wait to be put into their buckets: some kilobytes."""

# Statuses have three digits: by tens of classes, so that one number says protocol and class.
_ROW = 10


class Figure:
    """One word of a slot; `metric` is its Prometheus name, if it has one, and `labels` its labels there."""

    __slots__ = ("kind", "labels", "meaning", "metric", "name", "unit")

    def __init__(
        self,
        name: str,
        kind: str,
        meaning: str,
        unit: str = "",
        metric: str = "",
        labels: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.meaning = meaning
        self.unit = unit
        self.metric = metric
        self.labels = labels


def _gauges() -> Iterator[Figure]:
    yield Figure("connections", "gauge", "connections that are open", metric="connections")
    yield Figure("idle", "gauge", "connections without a request under way", metric="connections_idle")
    yield Figure("requests", "gauge", "requests in the application", metric="requests_in_flight")
    yield Figure("websockets", "gauge", "WebSockets that are open", metric="websockets")
    yield Figure("http2_connections", "gauge", "connections that speak HTTP/2", metric="http2_connections")
    yield Figure("http2_streams", "gauge", "streams open on them", metric="http2_streams")
    yield Figure("oldest_since", "gauge", "since when the oldest request runs, by the monotonic clock; 0: none", "ns")
    yield Figure("lag", "gauge", "how late the event loop was last", "ns", "loop_lag_seconds")
    yield Figure("lag_most", "gauge", "the most of it in the last minute", "ns", "loop_lag_highest_seconds")
    yield Figure("rss", "gauge", "resident memory", "bytes", "resident_memory_bytes")
    yield Figure("threads_busy", "gauge", "threads of WSGI applications at work", metric="wsgi_threads_busy")
    yield Figure("threads", "gauge", "threads of WSGI applications", metric="wsgi_threads")
    yield Figure("at_limit", "gauge", "1 where limit_connections or limit_concurrency is reached", metric="at_limit")


def _counters() -> Iterator[Figure]:
    yield Figure("accepted", "counter", "connections that were accepted", metric="connections_accepted")
    yield Figure(
        "bytes_in",
        "counter",
        "bytes read from clients, TLS and the header of PROXY left out",
        "bytes",
        "received_bytes",
    )
    yield Figure("bytes_out", "counter", "bytes written to clients", "bytes", "sent_bytes")
    for protocol in PROTOCOLS:
        for row in CLASSES:
            word = protocol.replace("/", "").replace(".", "")
            labels = (("protocol", protocol), ("status", row))
            yield Figure(
                f"{word}_{row}", "counter", f"responses {row} over {protocol}", metric="responses", labels=labels
            )
    for bound in BOUNDS:
        yield Figure(_bucket(bound), "counter", f"responses that took up to {bound:g} seconds, and no less than before")
    yield Figure("spent", "counter", "the sum of the durations of responses", "ns")
    for cause in (*REFUSALS.values(), *_OTHER_REFUSALS):
        meaning = f"refused by the server: {cause.replace('_', ' ')}"
        yield Figure(f"refused_{cause}", "counter", meaning, metric="refused", labels=(("cause", cause),))
    yield Figure("failed", "counter", "applications that raised, or did not answer", metric="application_failures")
    yield Figure("timed_out", "counter", "requests cancelled by timeout_request (504)", metric="requests_timed_out")
    yield Figure("cancelled", "counter", "requests cancelled since their client had left", metric="requests_cancelled")
    yield Figure("cut", "counter", "responses that were not sent whole", metric="responses_cut")


def _bucket(bound: float) -> str:
    return f"took_{bound:g}"


GAUGES = tuple(_gauges())
COUNTERS = tuple(_counters())
FIGURES = (*GAUGES, *COUNTERS)
BUCKETS = tuple(_bucket(bound) for bound in BOUNDS)
PATH_COUNTERS = (*CLASSES, *BUCKETS, "spent")
"""What is counted of each path that the option `paths` names; the last one in nanoseconds."""


def words_of(figures: Mapping[str, int]) -> list[int]:
    """The words of a slot in their order; what is not given is 0."""
    return [figures.get(figure.name, 0) for figure in FIGURES]


class Tally:
    """What one server counts; the hot path adds to the numbers, and nobody resets them."""

    __slots__ = (
        "accepted",
        "bytes_in",
        "bytes_out",
        "cancelled",
        "cut",
        "durations",
        "failed",
        "refusals",
        "responses",
        "spans",
        "spent",
        "timed_out",
    )

    # Where the responses of a protocol begin in `responses`; the hundreds of the status are added.
    HTTP1, HTTP2, WEBSOCKET = 0, _ROW, 2 * _ROW

    def __init__(self) -> None:
        self.accepted = self.bytes_in = self.bytes_out = 0
        self.responses = [0] * (len(PROTOCOLS) * _ROW)
        # That of a duration is the first whose bound is not below it.
        self.durations = [0] * len(BOUNDS)
        # The sum of all durations, in seconds.
        self.spent = 0.0
        # Durations that are in neither yet: to sort many at once takes less than to find the bucket of each.
        self.spans: list[float] = []
        self.refusals = dict.fromkeys((*REFUSALS.values(), *_OTHER_REFUSALS), 0)
        self.failed = self.timed_out = self.cancelled = self.cut = 0

    def refused(self, status: int) -> None:
        """Count an answer of the server's own to what can't be served."""
        self.refusals[REFUSALS.get(status, "other")] += 1

    def flooded(self) -> None:
        """Count a connection that was ended since it was used for a flood."""
        self.refusals["flood"] += 1

    def fold(self) -> None:
        """Put the durations that wait into their buckets."""
        spans, self.spans = self.spans, []
        spans.sort()
        self.spent += sum(spans)
        below = 0
        for bucket, bound in enumerate(BOUNDS):
            if below == len(spans):
                break
            upto = bisect_right(spans, bound, below)
            self.durations[bucket] += upto - below
            below = upto

    def figures(self) -> dict[str, int]:
        """All counters, by their names on the board."""
        self.fold()
        return self._figures(self.durations, self.spent)

    def figures_so_far(self) -> dict[str, int]:
        """The same, for another thread, which must change nothing; what is counted meanwhile may not be in it."""
        # In this order: what is folded meanwhile is in neither, and never in both.
        durations, spent = self.durations.copy(), self.spent
        spans = self.spans.copy()
        for span in spans:
            durations[bisect_left(BOUNDS, span)] += 1
        return self._figures(durations, spent + sum(spans))

    def _figures(self, durations: list[int], spent: float) -> dict[str, int]:
        found = {
            "accepted": self.accepted,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "spent": int(spent * 1e9),
            "failed": self.failed,
            "timed_out": self.timed_out,
            "cancelled": self.cancelled,
            "cut": self.cut,
        }
        found.update(zip(BUCKETS, durations, strict=True))
        found.update((f"refused_{cause}", number) for cause, number in self.refusals.items())
        for row, protocol in enumerate(PROTOCOLS):
            word = protocol.replace("/", "").replace(".", "")
            for number, name in enumerate(CLASSES, 1):
                found[f"{word}_{name}"] = self.responses[row * _ROW + number]
        return found


def quantile(figures: Mapping[str, int], part: float) -> float:
    """The duration in seconds that this part of the responses did not exceed, within its bucket; 0: there are none."""
    numbers = [figures.get(name, 0) for name in BUCKETS]
    rank = sum(numbers) * part
    if not rank:
        return 0.0
    below = 0.0
    for number, bound in zip(numbers, (*BOUNDS[:-1], BOUNDS[-2]), strict=True):
        if number and rank <= number:
            return below + (bound - below) * rank / number
        rank -= number
        below = bound
    return below
