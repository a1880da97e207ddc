"""Our formatters with uvicorn's names write what uvicorn's write."""

from __future__ import annotations

import io
import logging
import logging.config
from typing import Any

import pytest

from uvicorn_worker.logs import formatters
from uvicorn_worker.logs.formatters import AccessFormatter, ColourizedFormatter, DefaultFormatter

FMT = "%(levelprefix)s %(message)s"
ACCESS_FMT = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'


def record_of(level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord("uvicorn.error", level, "", 0, "said %s", ("once",), None)
    record.__dict__.update(more)
    return record


def access_record(status: int) -> logging.LogRecord:
    args = ("192.0.2.7:50123", "GET", "/a?b", "1.1", status)
    return logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', args, None)


def test_lines_without_colours() -> None:
    assert DefaultFormatter(FMT, use_colors=False).format(record_of()) == "INFO:     said once"
    assert ColourizedFormatter(FMT, use_colors=False).format(record_of(logging.CRITICAL)) == "CRITICAL: said once"
    line = AccessFormatter(ACCESS_FMT, use_colors=False).format(access_record(200))
    assert line == 'INFO:     192.0.2.7:50123 - "GET /a?b HTTP/1.1" 200 OK'


class Short(AccessFormatter):
    """Says what it wants of the three parts, and leaves out the step that would."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        address, _, path, _, status = record.args  # type: ignore[misc]
        record.__dict__.update(client_addr=str(address).partition(":")[0], request_line=path, status_code=status)
        return super(AccessFormatter, self).formatMessage(record)


def test_a_subclass_says_what_the_parts_are() -> None:
    line = Short(ACCESS_FMT, use_colors=False).format(access_record(200))
    assert line == 'INFO:     192.0.2.7 - "/a?b" 200'


def test_the_record_stays_as_it_is() -> None:
    record = access_record(200)
    before = dict(record.__dict__)
    AccessFormatter(ACCESS_FMT, use_colors=True).format(record)
    assert {**record.__dict__, "message": ""} == {**before, "message": ""}


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_colours_where_there_is_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(f"sys.{name}", Terminal())
    kinds = (DefaultFormatter, ColourizedFormatter, AccessFormatter)
    assert [kind().use_colors for kind in kinds] == [name == "stderr", name == "stdout", name == "stdout"]


def test_without_a_console_there_are_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a window (pythonw, PyInstaller), or whose streams were closed before it began."""
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert not any(kind().use_colors for kind in (DefaultFormatter, ColourizedFormatter, AccessFormatter))
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    assert not AccessFormatter().use_colors


def test_its_configuration_is_one() -> None:
    logging.config.DictConfigurator(formatters.LOGGING_CONFIG)
    assert set(formatters.LOG_LEVELS) == {"critical", "error", "warning", "info", "debug", "trace"}
    assert formatters.TRACE_LOG_LEVEL == 5


@pytest.mark.parametrize("colours", [True, False])
@pytest.mark.parametrize("kind", ["ColourizedFormatter", "DefaultFormatter", "AccessFormatter"])
def test_as_uvicorn_does(kind: str, colours: bool) -> None:
    theirs = pytest.importorskip("uvicorn.logging")
    fmt = ACCESS_FMT if kind == "AccessFormatter" else FMT
    one, other = (getattr(module, kind)(fmt, None, "%", colours) for module in (theirs, formatters))
    if kind == "AccessFormatter":
        records = [access_record(status) for status in (101, 200, 302, 404, 500, 599)]
    else:
        levels = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 35)
        records = [record_of(level) for level in levels] + [record_of(color_message="in \x1b[1mcolour %s\x1b[0m")]
    for record in records:
        assert other.format(record) == one.format(record)


@pytest.mark.parametrize(
    ("form", "line"), [(None, 'INFO:     1.2.3.4:5 - "GET / HTTP/1.1" 200 OK'), ("%(m)s", "INFO:     GET")]
)
def test_access_lines_have_the_form_that_was_asked_for(form: str | None, line: str) -> None:
    config = formatters.usual_config(form)["formatters"]["access"]
    made = logging.config.DictConfigurator({}).configure_formatter({**config, "use_colors": False})
    arguments: Any = ("1.2.3.4:5", "GET", "/", "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', arguments, None)
    if form is not None:
        record.msg, record.args = "GET", None
    assert made.format(record) == line


def test_colours_are_tables_of_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As uvicorn's are: some change them in place, others in a subclass."""

    class Mine(AccessFormatter):
        status_code_colours = {**AccessFormatter.status_code_colours, 2: lambda text: f"<{text}>"}  # noqa: RUF012

    monkeypatch.setitem(ColourizedFormatter.level_name_colors, logging.INFO, str.lower)
    arguments = ("192.0.2.1:5", "GET", "/", "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', arguments, None)
    assert Mine("%(levelprefix)s %(status_code)s", use_colors=True).format(record) == "info:     <200 OK>"
    theirs = pytest.importorskip("uvicorn.logging")
    assert set(ColourizedFormatter.level_name_colors) == set(theirs.ColourizedFormatter.level_name_colors)
    assert set(AccessFormatter.status_code_colours) == set(theirs.AccessFormatter.status_code_colours)
