"""The metrics of a master: what of its board Prometheus is told, and in which words.

`METRICS` is the one table, from which the documentation is made, too. Counters are those of all workers that there are
and were; gauges are sums over the workers that there are, or, of lags and ages, the highest.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from uvicorn_worker.board.ends import CAUSES
from uvicorn_worker.board.reading import BoardReading
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.figures import BOUNDS, BUCKETS, CLASSES, FIGURES, Figure
from uvicorn_worker.core.records import record

__all__ = ["METRICS", "PREFIX", "UNITS", "Metric", "check_metrics", "expose", "samples"]

PREFIX = "uvicorn_worker_"
UNITS = ("seconds", "bytes")
"""Base units, as Prometheus' rules for names have them."""
_STATES = ("booting", "serving", "draining", "stalled", "failed")

Sample = tuple[dict[str, str], float]


@record(frozen=True, eq=False, repr=False)
class Metric:
    """A family: its name without the prefix, and without the ending that a counter has."""

    name: str
    kind: str
    """gauge, counter or histogram."""
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")

    @property
    def unit(self) -> str:
        """Of its values, which is how its name ends; empty where they are numbers of something."""
        return next((unit for unit in UNITS if self.name.endswith(f"_{unit}")), "")


_MEANINGS = {
    "at_limit": "workers that have reached limit_connections or limit_concurrency",
    "loop_lag_seconds": "how late the event loop was last, of the worker where this was the most",
    "loop_lag_highest_seconds": "the most of it in the last minute",
    "http2_streams": "streams of HTTP/2 that are open",
    "responses": "responses by protocol and by class of status; a WebSocket is one, that to its handshake",
    "refused": "requests that the server has refused by itself, by the cause",
}


def _metrics() -> Iterator[Metric]:
    yield Metric("ready", "gauge", "1 where a worker serves and is below its limits: what /ready says")
    yield Metric("start_time_seconds", "gauge", "when the master has started: Unix time")
    yield Metric("workers", "gauge", "workers by their state", ("state",))
    yield Metric("workers_wanted", "gauge", "how many workers there are to be")
    yield Metric("ended", "counter", "workers that have ended, by the cause", ("cause",))
    yield Metric("oldest_request_seconds", "gauge", "for how long the oldest request is in flight; 0: there is none")
    yield Metric("heartbeat_age_seconds", "gauge", "the longest time for which a worker has not said that it is well")
    yield Metric("request_duration_seconds", "histogram", "from where a request is begun to the end of its answer")
    yield Metric("location_responses", "counter", "responses to what the option paths names", ("path", "status"))
    yield Metric(
        "location_request_duration_seconds", "histogram", "the durations of requests for what paths names", ("path",)
    )
    seen = set()
    for figure in FIGURES:
        if figure.metric and figure.metric not in seen:
            seen.add(figure.metric)
            labels = tuple(name for name, _ in figure.labels)
            yield Metric(figure.metric, figure.kind, _MEANINGS.get(figure.metric, figure.meaning), labels)


METRICS = tuple(_metrics())


def samples(reading: BoardReading) -> Iterator[tuple[Metric, list[Sample]]]:
    """What each metric is now; of each histogram, the numbers in its buckets, by themselves, and then the sum."""
    values = {**reading.gauges, **reading.totals}
    workers = reading.workers
    own: dict[str, list[Sample]] = {
        "ready": [({}, reading.is_ready)],
        "start_time_seconds": [({}, time.time() - reading.up)],
        "workers": [({"state": state}, sum(each.state == state for each in workers)) for state in _STATES],
        "workers_wanted": [({}, reading.wanted)],
        # Also those that there were none of: how much has come is only known of what was there before.
        "ended": [({"cause": cause}, reading.ended.get(cause, 0)) for cause in CAUSES],
        "oldest_request_seconds": [({}, max((each.oldest_age for each in workers), default=0.0))],
        "heartbeat_age_seconds": [({}, max((each.beat for each in workers), default=0.0))],
        "request_duration_seconds": list(_durations({}, values)),
        "location_responses": [
            ({"path": path, "status": row}, counters[row])
            for path, counters in reading.paths.items()
            for row in CLASSES
        ],
        "location_request_duration_seconds": [
            sample for path, counters in reading.paths.items() for sample in _durations({"path": path}, counters)
        ],
    }
    for metric in METRICS:
        found = own.get(metric.name)
        if found is None:
            found = [
                (dict(figure.labels), _scaled(figure, values[figure.name]))
                for figure in FIGURES
                if figure.metric == metric.name
            ]
        yield metric, found


def _durations(labels: dict[str, str], values: Mapping[str, int]) -> Iterator[Sample]:
    for bound, name in zip(BOUNDS, BUCKETS, strict=True):
        yield {**labels, "le": f"{bound:g}"}, values[name]
    yield labels, values["spent"] / 1e9


def _scaled(figure: Figure, value: int) -> float:
    return value / 1e9 if figure.unit == "ns" else value


# By prometheus_client -----------------------------------------------------------------------------------------------


def check_metrics() -> None:
    """Raise `ConfigError` where the package is missing that writes the metrics."""
    try:
        importlib.import_module("prometheus_client")
    except ModuleNotFoundError:
        raise ConfigError(
            "option metrics_bind needs the package prometheus-client: install the extra `metrics`"
        ) from None


def expose(reading: BoardReading, accept: str) -> tuple[bytes, str]:
    """All metrics, and their content type: in the form, OpenMetrics or that of Prometheus, that `accept` asks for."""
    core: Any = importlib.import_module("prometheus_client.core")
    exposition: Any = importlib.import_module("prometheus_client.exposition")
    registry = core.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(core, reading))
    encode, content_type = exposition.choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    """What prometheus_client asks for families."""

    def __init__(self, core: Any, reading: BoardReading) -> None:
        self._core = core
        self._reading = reading

    def describe(self) -> list[Any]:
        """There is nothing that another collector could have."""
        return []

    def collect(self) -> Iterator[Any]:
        """The families."""
        for metric, found in samples(self._reading):
            name, words = PREFIX + metric.name, metric.meaning
            if metric.kind == "histogram":
                family = self._core.HistogramMetricFamily(name, words, labels=metric.labels, unit=metric.unit)
                total, buckets = 0.0, []
                for labels, number in found:
                    if "le" in labels:
                        total += number
                        buckets.append(("+Inf" if labels["le"] == "inf" else labels["le"], total))
                    else:
                        family.add_metric([labels[name] for name in metric.labels], buckets=buckets, sum_value=number)
                        total, buckets = 0.0, []
            else:
                kind = self._core.CounterMetricFamily if metric.kind == "counter" else self._core.GaugeMetricFamily
                family = kind(name, words, labels=metric.labels, unit=metric.unit)
                for labels, number in found:
                    family.add_metric([labels[label] for label in metric.labels], number)
            yield family
