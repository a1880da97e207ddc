"""The atoms, each as Gunicorn's own logger has it, and compiled formats."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.glogging import Logger, SafeAtoms

from tests.logs.cycles import REQUESTS, cycle_of, headless_cycle, settings
from tests.records import records_of
from tests.scripted import get
from uvicorn_worker.core.log import escaped
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs import atoms as module
from uvicorn_worker.logs.atoms import Atoms, compile_format, make_environ

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
HANDBOOK = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
NAMES = ["h", "l", "u", "t", "r", "s", "m", "U", "q", "H", "b", "B", "f", "a", "T", "D", "M", "L", "p"]


def test_those_that_are_written_in_one_piece_are_atoms() -> None:
    assert set(module._USUAL) <= set(NAMES)


@pytest.fixture
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, for Gunicorn's logger too, and the request has taken 3.25 seconds."""
    moment, strftime = time.localtime(1_000_000_000), time.strftime
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.5)
    monkeypatch.setattr(time, "strftime", lambda form, at=moment: strftime(form, at))
    monkeypatch.setattr(time, "monotonic", lambda: 1003.25)


@pytest.fixture
def log() -> Iterator[Logger]:
    """Gunicorn's logger, which writes its lines nowhere."""
    with records_of("gunicorn.access", "gunicorn.error"):
        yield Logger(settings(accesslog="/dev/null", errorlog="/dev/null"))


def gunicorns_atoms(log: Logger, cycle: CycleView, elapsed: timedelta) -> Any:
    scope, target = cycle.scope, cycle.target
    headers = (scope["headers"], cycle.response_headers)
    fields = [[(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs] for pairs in headers]
    request = SimpleNamespace(headers=fields[0])
    response = SimpleNamespace(status=str(cycle.status), headers=fields[1], sent=cycle.body_sent)
    return SafeAtoms(log.atoms(response, request, make_environ(scope, target), elapsed))


def as_escaped(atom: Any) -> Any:
    """Gunicorn escapes quotes alone, with a backslash."""
    return escaped(atom.replace('\\"', '"')) if isinstance(atom, str) else atom


class TestAtoms:
    @pytest.mark.usefixtures("_one_moment")
    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
    def test_each_is_gunicorns(self, log: Logger, request_: bytes) -> None:
        cycle = cycle_of(request_)
        cycle.started = 1000.0
        ours, theirs = Atoms(cycle), gunicorns_atoms(log, cycle, timedelta(seconds=3.25))
        named = [f"{{{name}}}{kind}" for name in ("Host", "x-twice", "X-Quote", "x-none") for kind in "ioe"]
        named += ["{http_host}e", "{HTTP_X_QUOTE}e", "{wsgi.url_scheme}e", "{content-type}o", "{raw_uri}e"]
        for name in [*NAMES, *named, "x", "none", "{host}", "{}i"]:
            assert ours[name] == as_escaped(theirs[name]), name

    def test_over_a_unix_socket(self, log: Logger) -> None:
        cycle = cycle_of(client=None, server=("/run/app.sock", None))
        ours, theirs = Atoms(cycle), gunicorns_atoms(log, cycle, timedelta(0))
        for name in ("h", "r", "{server_name}e", "{remote_addr}e", "{remote_port}e", "{server_port}e"):
            assert ours[name] == theirs[name], name
        assert ours["h"] == "-"

    def test_fields_of_an_application_that_sends_text(self) -> None:
        assert Atoms(cycle_of(response_headers=[("X-Own", "v"), (b"a", b"b")]))["{x-own}o"] == "v"

    def test_it_is_a_mapping_of_them_all(self) -> None:
        atoms = Atoms(cycle_of())
        assert isinstance(atoms, Mapping)
        assert list(atoms) == NAMES
        assert len(atoms) == len(NAMES)
        assert dict(atoms)["m"] == "GET"

    @pytest.mark.parametrize("target", ["/users/1", "/users/1?x=y", "/r/users"])
    def test_with_a_root_path_the_target_is_the_clients(self, target: str) -> None:
        atoms = Atoms(cycle_of(get(target), root_path="/r"))
        assert atoms["r"] == f"GET {target} HTTP/1.1"
        assert atoms["U"] == target.partition("?")[0]


class TestFormats:
    @pytest.mark.parametrize(
        "access_log_format",
        [
            DEFAULT,
            HANDBOOK,
            "%(m)s",
            "",
            "no atoms",
            "100%% %(h)s",
            "%%(h)s %(m)s",
            "%(D)d %(B)d",
            "%(s)5s|%(m)-6s|",
            "%(none)s %({none}i)s",
            "%({X-Twice}i)s %({X-TWICE}o)s %({HTTP_HOST}e)s",
            '{"path": "%(U)s", "agent": "%(a)s", "t": "%(t)s"}',
            "%(h)s\t%(r)s\u20ac",
        ],
    )
    @pytest.mark.usefixtures("_one_moment")
    def test_each_gives_gunicorns_line(self, log: Logger, access_log_format: str) -> None:
        cycle = cycle_of(REQUESTS["fields"])
        cycle.started = 1000.0
        theirs = gunicorns_atoms(log, cycle, timedelta(seconds=3.25))
        assert compile_format(access_log_format)(Atoms(cycle)) == access_log_format % theirs

    def test_a_width_without_end_is_an_error_of_its_lines(self) -> None:
        make_line = compile_format("%(s)s %" + "6" * 19 + "s")
        with pytest.raises((TypeError, ValueError, OverflowError, MemoryError)):
            make_line(Atoms(cycle_of()))

    def test_only_what_is_named_is_computed(self) -> None:
        cycle = cycle_of()
        cycle.scope.clear()
        assert compile_format("%(s)s %(b)s %(l)s")(Atoms(cycle)) == "200 13 -"


class TestEnviron:
    def test_repeated_fields_are_joined(self) -> None:
        cycle = cycle_of(get("/", "X-A: 1", "X-A: 2", "Content-Length: 0", "Content-Type: t"))
        environ = make_environ(cycle.scope, cycle.target)
        assert (environ["HTTP_X_A"], environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]) == ("1,2", "0", "t")


class TestWithoutARequest:
    """What the server answers before it has read a head."""

    @pytest.mark.parametrize(
        "access_log_format", [DEFAULT, HANDBOOK, "%(m)s %(U)s %(q)s|%({host}i)s %({host}o)s %({host}e)s"]
    )
    def test_each_format_gives_a_line(self, access_log_format: str) -> None:
        atoms = Atoms(headless_cycle(408))
        assert compile_format(access_log_format)(atoms)
        assert access_log_format % atoms

    def test_there_is_no_request_line(self) -> None:
        atoms = Atoms(headless_cycle(408))
        assert (
            compile_format('%(h)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(u)s')(atoms) == '192.0.2.7 "-" 408 0 "-" "-" -'
        )
        assert (atoms["m"], atoms["U"], atoms["q"], atoms["H"]) == ("-", "-", "", "HTTP/1.1")


def test_the_time_is_that_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    atoms = Atoms(headless_cycle(400))
    seen = []
    for moment in (1_000_000_000.0, 1_000_000_000.9, 1_000_000_001.0):
        now[0] = moment
        seen.append(atoms["t"])
    assert seen[0] == seen[1] == time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(1_000_000_000))
    assert seen[2] == time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(1_000_000_001))
