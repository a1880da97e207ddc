"""Lines without records are those that the formatter makes of the record, byte for byte."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.logs.cycles import REQUESTS, cycle_of, headless_cycle
from tests.scripted import get
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs import line_forms
from uvicorn_worker.logs.access_log import line_hook, record_maker, uvicorn_record_maker
from uvicorn_worker.logs.atoms import Atoms, compile_line
from uvicorn_worker.logs.formatters import LOGGING_CONFIG, AccessFormatter
from uvicorn_worker.logs.json_lines import JsonFormatter
from uvicorn_worker.logs.line_forms import Forms, gunicorn_forms, uvicorn_forms

NAME = "uvicorn.access"
HANDBOOK = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
UVICORNS = LOGGING_CONFIG["formatters"]["access"]["fmt"]
ELAPSED = 3.25
FORMATTERS: dict[str, Callable[[], logging.Formatter | None]] = {
    "none": lambda: None,
    "message": lambda: logging.Formatter("%(message)s"),
    "braces": lambda: logging.Formatter("{message}", style="{"),
    "uvicorn": lambda: AccessFormatter(UVICORNS, use_colors=False),
    "json": JsonFormatter,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "own": {},
    "format": {"access_log_format": HANDBOOK},
    "below": {"root_path": "/r"},
    "format below": {"access_log_format": HANDBOOK, "root_path": "/r"},
}
Make = Callable[[CycleView, float], logging.LogRecord]


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.7215)


def uvicorns(**options: Any) -> tuple[Forms, Make]:
    config = Config(app=hello, **options)
    make_record = uvicorn_record_maker(NAME, config)
    return uvicorn_forms(NAME, config, make_record), make_record


def gunicorns(access_log_format: str = HANDBOOK) -> tuple[Forms, Make]:
    make_line, make_record = compile_line(access_log_format), record_maker("gunicorn.access", access_log_format)
    return gunicorn_forms("gunicorn.access", access_log_format), lambda cycle, elapsed: make_record(
        make_line(cycle, elapsed), Atoms(cycle, elapsed)
    )


def cycles() -> Iterator[CycleView]:
    for request in REQUESTS.values():
        yield cycle_of(request)
    for status in (101, 204, 404, 499, 599):
        yield cycle_of(status=status, body_sent=0)
    yield headless_cycle(408)
    chance = random.Random(3)
    alphabet = ["a", "/", "?", " ", '"', "\\", "\t", "\x7f", "\xe9", "\xa0", "%0A", "%s", "{", "-"]
    for _ in range(200):
        cycle: Any = cycle_of()
        cycle.target = chance.choice(["/", "", "*", "http://x/"]).encode() + "".join(
            chance.choices(alphabet, k=chance.randrange(6))
        ).encode("latin-1")
        host = "".join(chance.choices([*alphabet, "\u20ac", "::1"], k=chance.randrange(3)))
        cycle.scope["client"] = chance.choice([None, ("192.0.2.7", 1), ["192.0.2.8", 2], (host, 0)])
        cycle.scope["method"] = chance.choice(["GET", "M-SEARCH"])
        yield cycle


def agree(forms: Forms, make_record: Make, formatter: logging.Formatter | None) -> None:
    form = forms(formatter)
    assert form is not None
    handler = logging.NullHandler()
    handler.setFormatter(formatter)
    for cycle in cycles():
        for elapsed in (ELAPSED, 0.0, 1e-7, 99e-6, 0.0001, 0.000123, 0.1, 0.1234567, 0.9999996, 12.0):
            assert form(cycle, elapsed) == handler.format(make_record(cycle, elapsed))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("formatter", FORMATTERS.values(), ids=FORMATTERS)
def test_uvicorns(formatter: Callable[[], logging.Formatter | None], options: dict[str, Any]) -> None:
    agree(*uvicorns(**options), formatter())


def test_what_is_remembered_for_lines_of_json_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_forms, "MOST_TEXTS", 3)
    forms, make_record = uvicorns()
    formatter = JsonFormatter()
    form: Any = forms(formatter)
    remembered = [cell.cell_contents for cell in form.__closure__ if isinstance(cell.cell_contents, dict)]
    assert len(remembered) == 2
    chance = random.Random(4)
    for _ in range(100):
        target = chance.choice([*"abcde", "x" * line_forms.LONGEST_TEXT])
        cycle = cycle_of(
            get(f"/{target}", method=chance.choice(["GET", "PUT"]), version=chance.choice(["1.0", "1.1"])),
            client=("192.0.2.7", chance.randrange(5)),
            status=chance.choice([200, 404]),
        )
        assert form(cycle, ELAPSED) == formatter.format(make_record(cycle, ELAPSED))
        assert max(map(len, remembered)) <= 3
        assert not any(len(key[0]) > line_forms.LONGEST_TEXT for key in remembered[1])


@pytest.mark.parametrize("formatter", [each for name, each in FORMATTERS.items() if name != "uvicorn"])
def test_gunicorns(formatter: Callable[[], logging.Formatter | None]) -> None:
    agree(*gunicorns(), formatter())


def test_the_formatter_of_uvicorn_itself() -> None:
    formatters = pytest.importorskip("uvicorn.logging")
    agree(*uvicorns(), formatters.AccessFormatter(UVICORNS, use_colors=False))


@pytest.mark.parametrize(
    ("created", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_000_000_000.7215, "2001-09-09T01:46:40.721Z"),
        (1_000_000_000.9999996, "2001-09-09T01:46:41.000Z"),
        (1_000_000_000.0005, "2001-09-09T01:46:40.000Z"),
    ],
)
def test_times_are_those_of_datetime(created: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: created)
    forms, make_record = gunicorns()
    formatter = JsonFormatter()
    form = forms(formatter)
    assert form is not None
    line = form(cycle_of(), ELAPSED)
    assert line == formatter.format(make_record(cycle_of(), ELAPSED))
    assert text[:19] in line


class Own(JsonFormatter):
    pass


def changed(formatter: Any, **attributes: Any) -> logging.Formatter:
    vars(formatter).update(attributes)
    return formatter  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "formatter",
    [
        logging.Formatter("%(asctime)s %(message)s"),
        AccessFormatter(UVICORNS, use_colors=True),
        AccessFormatter("%(message)s", use_colors=False),
        changed(AccessFormatter(UVICORNS, use_colors=False), format=lambda record: "x"),
        Own(),
        changed(JsonFormatter(), format=lambda record: "x"),
    ],
)
def test_what_is_known_to_the_formatter_alone(formatter: logging.Formatter) -> None:
    assert uvicorns()[0](formatter) is None
    assert gunicorns()[0](formatter) is None


def plain_logger() -> tuple[logging.Logger, io.StringIO]:
    logger, stream = logging.Logger(NAME, logging.INFO), io.StringIO()  # noqa: LOG001
    logger.addHandler(logging.StreamHandler(stream))
    return logger, stream


CHANGES: list[Callable[[logging.Logger, logging.Handler], object]] = [
    lambda logger, handler: None,
    lambda logger, handler: handler.setFormatter(JsonFormatter()),
    lambda logger, handler: handler.setFormatter(AccessFormatter(UVICORNS, use_colors=False)),
    lambda logger, handler: setattr(handler.formatter, "use_colors", True),
    lambda logger, handler: setattr(handler.formatter, "use_colors", False),
    lambda logger, handler: handler.setFormatter(logging.Formatter("%(message)s")),
    lambda logger, handler: setattr(handler.formatter._style, "_fmt", "%(status_code)s"),  # type: ignore[union-attr]
    lambda logger, handler: handler.setFormatter(None),
    lambda logger, handler: logger.setLevel(logging.ERROR),
    lambda logger, handler: logger.setLevel(logging.INFO),
    lambda logger, handler: handler.setLevel(logging.ERROR),
    lambda logger, handler: handler.setLevel(logging.NOTSET),
    lambda logger, handler: logger.addFilter(lambda record: record.status_code != 200),  # type: ignore[attr-defined]
    lambda logger, handler: logger.filters.clear(),
    lambda logger, handler: setattr(logger, "disabled", True),
    lambda logger, handler: setattr(logger, "disabled", False),
    lambda logger, handler: logger.addHandler(handler),
    lambda logger, handler: logger.addHandler(logging.NullHandler()),
    lambda logger, handler: setattr(logger, "handlers", [handler]),
    lambda logger, handler: setattr(handler, "terminator", "|"),
    lambda logger, handler: logger.handlers.clear(),
    lambda logger, handler: logger.addHandler(handler),
]


def test_both_write_the_same_whatever_is_changed_meanwhile() -> None:
    forms, make_record = uvicorns()

    async def main() -> list[str]:
        (fast, fast_stream), (slow, slow_stream) = plain_logger(), plain_logger()
        hooks = [
            (fast, line_hook(fast, forms, make_record)),
            (slow, line_hook(slow, lambda formatter: None, make_record)),
        ]
        handlers = [fast.handlers[0], slow.handlers[0]]
        statuses = itertools.cycle([200, 404])
        for change in CHANGES:
            for (logger, _), handler in zip(hooks, handlers, strict=True):
                change(logger, handler)
            cycle = cycle_of(status=next(statuses), started=10.0)
            for _, hook in hooks:
                hook(cycle)
            # The end of the turn.
            await asyncio.sleep(0)
        return [fast_stream.getvalue(), slow_stream.getvalue()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn_worker.logs.line_writer.monotonic", lambda: 12.5)
        # Of what has no handler logging's last resort is silent.
        patch.setattr(logging, "lastResort", None)
        patch.setattr(logging, "raiseExceptions", False)
        fast, slow = asyncio.run(main())
    assert fast == slow
    assert len(fast) > 500
