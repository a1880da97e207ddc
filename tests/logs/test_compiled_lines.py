"""Lines that are made in one go: each is what the slow way makes, whatever the client has sent."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.logs.cycles import REQUESTS, cycle_of, headless_cycle
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs.atoms import Atoms, compile_format, compile_line

FORMATS = {
    "gunicorn": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
    "handbook": '%(h)s "%(r)s" %(s)s %(b)s %(D)s',
    "all": "%(h)s %(l)s %(u)s %(t)s %(r)s %(s)s %(m)s %(H)s %(b)s %(B)s %(f)s %(a)s %(T)s %(D)s %(M)s %(p)s",
    "no fields": "%(m)s %(s)s",
    "nothing": "-",
    "a tab": "%(h)s\t%(r)s",
    "a backslash": "%(h)s\\%(r)s\\n",
    "source": "{%(h)s} \"\"\" {x!r} \\N{x} ''' \n \u20ac \udc80 {{%(s)s}}",
    # These are made slowly.
    "a field": "%(h)s %({x-a}i)s",
    "another conversion": "%(h)s %(D)d",
    "a percent": "%(h)s %% %(s)s",
    "no such atom": "%(h)s %(nothing)s",
}
ELAPSED = 3.25


def slow_line(access_log_format: str, cycle: CycleView) -> str:
    return compile_format(access_log_format)(Atoms(cycle, ELAPSED))


@pytest.fixture(autouse=True)
def _one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn_worker.logs.atoms.time.time", lambda: 1_000_000_000.5)


@pytest.mark.parametrize("access_log_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_each_request(access_log_format: str, request_: bytes) -> None:
    cycle = cycle_of(request_)
    assert compile_line(access_log_format)(cycle, ELAPSED) == slow_line(access_log_format, cycle)


@pytest.mark.parametrize("access_log_format", FORMATS.values(), ids=FORMATS)
def test_one_without_a_request_line(access_log_format: str) -> None:
    cycle: Any = headless_cycle(408)
    assert compile_line(access_log_format)(cycle, ELAPSED) == slow_line(access_log_format, cycle)


@pytest.mark.parametrize("access_log_format", FORMATS.values(), ids=FORMATS)
def test_requests_by_chance(access_log_format: str) -> None:
    chance = random.Random(12)
    alphabet = [b"a", b"/", b"?", b" ", b'"', b"\\", b"\t", b"\x7f", b"\xe9", b"\xa0", b"\x85", b"%0A", b"%s", b"-"]

    def text() -> bytes:
        return b"".join(chance.choices(alphabet, k=chance.randrange(6)))

    make_line = compile_line(access_log_format)
    for _ in range(300):
        cycle: Any = cycle_of(REQUESTS[next(iter(REQUESTS))])
        names = [b"referer", b"user-agent", b"authorization", b"x-a"]
        cycle.scope["headers"] = [
            (name, chance.choice([text(), b"Basic dTpw", b""])) for name in chance.choices(names, k=chance.randrange(5))
        ]
        cycle.target = b"/" + text()
        cycle.scope["client"] = chance.choice(
            [None, ("192.0.2.7", 1), (text().decode("latin-1"), 0), ("/run/\ud800", 0)]
        )
        assert make_line(cycle, ELAPSED) == slow_line(access_log_format, cycle)
