"""Lines on uvicorn.access, in uvicorn's form and in that of Gunicorn's atoms."""

from __future__ import annotations

import copy
import json
import logging
import logging.handlers
import pickle
import queue
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.logs.cycles import cycle_of, headless_cycle
from tests.records import Records, records_of
from tests.scripted import get
from uvicorn_worker.core.config import Config
from uvicorn_worker.logs.access_log import AccessRecord, client_addr_of, record_maker, standalone_access, uvicorn_hook

LINE = '192.0.2.7:50123 - "GET /a%20b?c=d HTTP/1.1" 200'


@pytest.fixture
def records() -> Iterator[Records]:
    with records_of("uvicorn.access") as records:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
        yield records


def record_of(records: Records, cycle: Any = None, **options: Any) -> logging.LogRecord:
    """The record of one response."""
    hook = uvicorn_hook(logging.getLogger("uvicorn.access"), Config(app=hello, **options))
    root_path = options.get("root_path", "")
    hook(cycle or cycle_of(get("/a%20b?c=d", "User-Agent: test"), root_path=root_path))
    (record,) = records.kept
    return record


class TestUvicornsForm:
    def test_the_line_and_its_parts(self, records: Records) -> None:
        record = record_of(records)
        assert record.getMessage() == LINE
        assert record.args == ("192.0.2.7:50123", "GET", "/a%20b?c=d", "1.1", 200)
        assert record.msg % record.args == LINE
        parts = vars(record)
        assert parts["client_addr"] == "192.0.2.7:50123"
        assert parts["request_line"] == "GET /a%20b?c=d HTTP/1.1"
        assert parts["status_code"] == 200

    def test_the_path_is_under_the_root_path(self, records: Records) -> None:
        assert record_of(records, root_path="/r").args == ("192.0.2.7:50123", "GET", "/r/a%20b?c=d", "1.1", 200)

    def test_without_a_request(self, records: Records) -> None:
        record = record_of(records, headless_cycle(408), root_path="/r")
        assert record.getMessage() == '192.0.2.7:50123 - "- - HTTP/1.1" 408'

    def test_over_a_unix_socket(self, records: Records) -> None:
        cycle = cycle_of(client=None, server=("/run/app.sock", None))
        assert record_of(records, cycle).getMessage() == ' - "GET / HTTP/1.1" 200'

    def test_uvicorns_formatter(self, records: Records) -> None:
        formatters = pytest.importorskip("uvicorn.logging")
        form = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'
        line = formatters.AccessFormatter(form, use_colors=False).format(record_of(records))
        assert line == f"INFO:     {LINE} OK"

    def test_a_plain_formatter(self, records: Records) -> None:
        form = logging.Formatter("%(client_addr)s|%(request_line)s|%(status_code)s|%(message)s|%(levelname)s")
        line = form.format(record_of(records))
        assert line == f"192.0.2.7:50123|GET /a%20b?c=d HTTP/1.1|200|{LINE}|INFO"

    def test_a_json_formatter(self, records: Records) -> None:
        formatters = pytest.importorskip("pythonjsonlogger.json")
        seen = json.loads(formatters.JsonFormatter("%(name)s %(message)s").format(record_of(records)))
        assert 0 <= seen.pop("duration") < 60
        assert seen == {
            "name": "uvicorn.access",
            "message": LINE,
            "method": "GET",
            "path": "/a%20b",
            "bytes": 13,
            "client_addr": "192.0.2.7:50123",
            "request_line": "GET /a%20b?c=d HTTP/1.1",
            "status_code": 200,
            **({"taskName": None} if "taskName" in seen else {}),
        }


class TestAtoms:
    def test_the_line_is_of_the_format(self, records: Records) -> None:
        record = record_of(records, access_log_format='%(m)s %(s)s "%(a)s"')
        assert record.getMessage() == 'GET 200 "test"'
        assert record.args == ("192.0.2.7:50123", "GET", "/a%20b?c=d", "1.1", 200)
        assert vars(record)["status_code"] == 200


class TestRecords:
    def test_they_have_what_every_record_has(self) -> None:
        made = record_maker("some.logger", "%s")("a line", ("x",))
        where = (made.pathname, made.lineno)
        plain = logging.LogRecord("some.logger", logging.INFO, *where, "%s", ("x",), None, made.funcName)
        changing = {"created", "msecs", "relativeCreated", "taskName"}
        assert {name: value for name, value in vars(made).items() if name not in changing} == {
            name: value for name, value in vars(plain).items() if name not in changing
        }
        assert vars(made).keys() == vars(plain).keys()
        assert 0 <= plain.created - made.created < 60
        assert 0 <= plain.relativeCreated - made.relativeCreated < 60_000
        assert 0 <= made.msecs < 1000

    def test_they_say_where_they_come_from(self, records: Records) -> None:
        """As formats ask with %(filename)s, and collectors of logs that take no None for the name of a function."""
        record = record_of(records)
        line = logging.Formatter("%(filename)s %(module)s %(funcName)s").format(record)
        assert line == "access_log.py access_log line_hook"
        assert record.lineno > 0

    def test_each_has_the_time_at_which_it_was_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make = record_maker("some.logger", "")
        monkeypatch.setattr(time, "time", lambda: 1_000_000_000.25)
        record = make("a line", None)
        assert (record.created, record.msecs) == (1_000_000_000.25, 250.0)
        assert logging.Formatter().formatTime(record, "%S")

    def test_they_can_be_copied_queued_and_pickled(self) -> None:
        record = record_maker("some.logger", "%s")("a line", None)
        assert copy.copy(record).getMessage() == "a line"
        assert pickle.loads(pickle.dumps(record)).getMessage() == "a line"  # noqa: S301 - it was made here
        waiting: queue.Queue[Any] = queue.Queue()
        logging.handlers.QueueHandler(waiting).emit(record)
        assert waiting.get().getMessage() == "a line"

    @pytest.mark.parametrize(
        ("access_log_format", "line", "args"),
        [(None, LINE, ("192.0.2.7:50123", "GET", "/a%20b?c=d", "1.1", 200)), ("%(m)s 100%%", "GET 100%", None)],
    )
    def test_a_factory_is_asked(
        self, records: Records, access_log_format: str | None, line: str, args: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Traced(logging.LogRecord):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.trace_id = "abc"

        monkeypatch.setattr(logging, "_logRecordFactory", Traced)
        record = record_of(records, access_log_format=access_log_format)
        assert not isinstance(record, AccessRecord)
        assert logging.Formatter("%(trace_id)s %(module)s %(message)s").format(record) == f"abc access_log {line}"
        assert record.args == args
        assert vars(record)["status_code"] == 200


class TestStandalone:
    @pytest.mark.parametrize(("access_log", "level"), [(False, logging.INFO), (True, logging.WARNING)])
    def test_it_can_be_switched_off(self, records: Records, access_log: bool, level: int) -> None:
        logging.getLogger("uvicorn.access").setLevel(level)
        assert standalone_access(Config(app=hello, access_log=access_log)) is None

    def test_and_later_too(self, records: Records) -> None:
        hook = standalone_access(Config(app=hello))
        assert hook is not None
        logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
        hook(cycle_of())
        assert records.lines == []


def test_no_task_is_named_that_did_not_write_the_line() -> None:
    record = record_maker("some.logger", "")("a line", None)
    assert getattr(record, "taskName", None) is None
    assert hasattr(record, "taskName") == (sys.version_info >= (3, 12))


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        (("192.0.2.7", 50123), ("127.0.0.1", 80), "192.0.2.7:50123"),
        (("192.0.2.7", 0), ("127.0.0.1", 80), "192.0.2.7:0"),
        (("192.0.2.7", 0), ("/run/app.sock", None), "192.0.2.7"),
        (("192.0.2.7", 4711), ("/run/app.sock", None), "192.0.2.7:4711"),
        (None, ("/run/app.sock", None), ""),
        (("192.0.2.7", 0), None, "192.0.2.7:0"),
    ],
)
def test_the_address_of_a_client(client: Any, server: Any, expected: str) -> None:
    assert client_addr_of({"client": client, "server": server}) == expected
