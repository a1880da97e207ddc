"""Lines of JSON, as `--log-format json` of the command writes them."""

from __future__ import annotations

import json
import logging
import logging.config
import random
import sys
from datetime import datetime, timezone
from typing import Any

import pytest

from uvicorn_worker.logs.json_lines import JSON_CONFIG, JsonFormatter, JsonTime

ACCESS = '%s - "%s %s HTTP/%s" %d'


def line(name: str = "uvicorn.error", message: object = "said", args: object = (), **more: Any) -> dict[str, Any]:
    """What is written of a record, of 2001-09-09, with `more` as its attributes."""
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, None)  # type: ignore[arg-type]
    record.created = 1_000_000_000.25
    vars(record).update(more)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_what_each_line_has() -> None:
    assert line(message="one of %d", args=(2,), process=7) == {
        "time": "2001-09-09T01:46:40.250Z",
        "level": "warning",
        "logger": "uvicorn.error",
        "pid": 7,
        "message": "one of 2",
    }


@pytest.mark.parametrize("start", [1_000_000_000.0, 1_795_946_000.9985, 0.0])
def test_the_text_that_is_kept_for_a_millisecond_is_that_of_each_time_within(start: float) -> None:
    """Times that follow each other closely, clocks that are set back, and those next to where the text changes."""
    chance, json_time, created = random.Random(5), JsonTime(), start
    for _ in range(20_000):
        created = max(0.0, created + chance.choice([1e-7, 5e-7, 1e-6, 3e-5, 4e-4, 1e-3, 0.4, -2e-6, -1e-3]))
        if chance.random() < 0.3:
            created = round(created, 3) + chance.choice([-1e-6, -5e-7, -1e-7, 0.0, 5e-7, 1e-6])
            created = max(0.0, created)
        expected = datetime.fromtimestamp(created, timezone.utc).isoformat(timespec="milliseconds")
        assert json_time(created) == expected.replace("+00:00", "Z"), created


def test_the_parts_of_an_access_line() -> None:
    found = line("uvicorn.access", ACCESS, ("192.0.2.1:5", "GET", "/ä\n", "1.1", 200), bytes=5, duration=0.5)
    parts = ("client_addr", "method", "path", "http_version", "status_code", "bytes", "duration")
    assert [found[name] for name in parts] == ["192.0.2.1:5", "GET", "/ä\n", "1.1", 200, 5, 0.5]
    assert found["message"] == '192.0.2.1:5 - "GET /ä\n HTTP/1.1" 200'


@pytest.mark.parametrize(("name", "args"), [("uvicorn.access", ("only", "two")), ("other", ("a", "b", "c", "d", 5))])
def test_others_have_no_parts(name: str, args: tuple[object, ...]) -> None:
    assert "client_addr" not in line(name, " ".join(["%s"] * len(args)), args)


def test_what_was_given_as_extra_is_there() -> None:
    assert line(request_id="r1", _hidden=1, color_message="no", odd=object)["request_id"] == "r1"
    assert line(odd=object)["odd"] == str(object)
    assert not {"_hidden", "color_message"} & set(line(_hidden=1, color_message="no"))


def test_errors_and_stacks() -> None:
    try:
        raise LookupError("on purpose")
    except LookupError:
        found = line(exc_info=sys.exc_info())
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["exception"].endswith("LookupError: on purpose")
    assert line(stack_info="Stack:\n  here")["stack"] == "Stack:\n  here"


def test_the_configuration_writes_so(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(JSON_CONFIG)
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info(ACCESS, "192.0.2.1:5", "GET", "/", "1.1", 200)
    logging.getLogger("uvicorn.access").debug("not this")
    out, err = capsys.readouterr()
    assert json.loads(err)["message"] == "started"
    assert json.loads(out)["status_code"] == 200
