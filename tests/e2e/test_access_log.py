"""Access lines by ``access_log_format``, through Gunicorn's logger or the user's own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

ATOMS = "hlutrsmUqHbBfaTDMLp"
EVERY_ATOM = "\t".join(f"{atom}=%({atom})s" for atom in ATOMS) + (
    "\ti=%({X-In}i)s\to=%({x-out}o)s\te=%({REQUEST_METHOD}e)s\tno-i=%({x-no}i)s\tno-o=%({x-no}o)s\tno-e=%({x-no}e)s"
)
REQUEST = (
    "X-In: incoming",
    "User-Agent: raw/1.0",
    "Referer: http://from.test/",
    "Authorization: Basic bWU6c2VjcmV0",  # me:secret
)


def one_line(server: Gunicorn, file: str) -> dict[str, str]:
    """The only access line, as the values of its atoms."""
    line = until(lambda: server.read(file), "an access line")
    assert line.count("\n") == 1
    return dict(field.split("=", 1) for field in line.rstrip("\n").split("\t"))


@pytest.mark.parametrize("file", ["stdout", "access.log"])
def test_every_atom(serve: Serve, worker: str, file: str) -> None:
    target = "-" if file == "stdout" else file
    server = serve("probe:app", "--access-logfile", target, "--access-logformat", EVERY_ATOM, worker=worker)
    with server.connect() as connection:
        response = connection.get("/caf%C3%A9?a=1&b=%20", *REQUEST)
        line = one_line(server, file)
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", line.pop("t"))
    assert line.pop("U").encode("utf-8", "surrogateescape") in {"/café".encode(), "/cafÃ©".encode(), b"/caf%C3%A9"}
    taken = int(line.pop("D"))
    assert 0 <= taken < 60_000_000
    assert int(line.pop("M")) == taken // 1000
    assert int(line.pop("T")) == taken // 1_000_000
    assert line.pop("L") == f"{taken // 1_000_000}.{taken % 1_000_000:06d}"
    assert line == {
        "h": "127.0.0.1",
        "l": "-",
        "u": "me",
        "r": "GET /caf%C3%A9?a=1&b=%20 HTTP/1.1",
        "s": "200",
        "m": "GET",
        "q": "a=1&b=%20",
        "H": "HTTP/1.1",
        "b": "13",
        "B": "13",
        "f": "http://from.test/",
        "a": "raw/1.0",
        "p": f"<{response.headers['x-pid']}>",
        "i": "incoming",
        "o": "outgoing",
        "e": "GET",
        "no-i": "-",
        "no-o": "-",
        "no-e": "-",
    }


def test_atoms_without_a_value(serve: Serve, worker: str) -> None:
    layout = "%(u)s|%(f)s|%(a)s|%(q)s|"
    server = serve("probe:app", "--access-logfile", "-", "--access-logformat", layout, worker=worker)
    with server.connect() as connection:
        connection.get("/")
    assert until(lambda: server.out, "an access line") == "-|-|-||\n"


def test_bytes_and_duration_of_slow_and_streamed_responses(serve: Serve, worker: str) -> None:
    layout = "%(r)s|%(s)s|%(B)s|%(D)s"
    server = serve("probe:app", "--access-logfile", "-", "--access-logformat", layout, worker=worker)
    with server.connect() as connection:
        connection.get("/sleep?s=0.3")
        connection.get("/stream?n=3")
        connection.request("/", method="HEAD")
        connection.response("HEAD")
        connection.get("/fail")
        until(lambda: server.out.count("\n") == 4, "four access lines")
    slept, streamed, head, failed = (line.split("|") for line in server.out.splitlines())
    assert slept[:3] == ["GET /sleep?s=0.3 HTTP/1.1", "200", "5"]
    assert 300_000 <= int(slept[3]) < 20_000_000
    assert streamed[:3] == ["GET /stream?n=3 HTTP/1.1", "200", "21"]  # without the chunks' framing
    assert head[:3] == ["HEAD / HTTP/1.1", "200", "0"]
    assert failed[1] == "500"


def test_format_of_gunicorn_by_default(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--access-logfile", "-", worker=worker)
    with server.connect() as connection:
        connection.get("/", "User-Agent: raw/1.0")
    line = until(lambda: server.out, "an access line")
    assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 13 "-" "raw/1\.0"\n', line)


def test_off_by_default(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker)
    assert server.get("/quiet").status_code == 200
    server.stop_gracefully()
    assert server.out == ""
    assert "/quiet" not in server.log


def test_logger_class_of_the_user(serve: Serve, worker: str) -> None:
    options = ("--logger-class", "custom_logger.EventLogger", "--access-logfile", "-")
    server = serve("probe:app", *options, worker=worker)
    with server.connect() as connection:
        connection.get("/view?a=1", *REQUEST)
        seen = json.loads(server.wait_events("access")[0].detail)
    assert seen["status"] == 200
    assert seen["sent"] == 13
    assert seen["response_headers"]["x-out"] == "outgoing"
    assert seen["request_headers"]["x-in"] == "incoming"
    assert seen["asked"] == ["incoming", "outgoing", "-"]
    assert (seen["method"], seen["target"], seen["path"], seen["query"]) == ("GET", "/view?a=1", "/view", "a=1")
    assert (seen["protocol"], seen["peer"]) == ("HTTP/1.1", "127.0.0.1")
    assert 0 <= seen["seconds"] < 60
    assert seen["atoms"]["u"] == "me"
    assert seen["atoms"]["r"] == "GET /view?a=1 HTTP/1.1"
    assert len(server.events("access")) == 1
    assert server.out == ""  # its access() writes nothing itself


@pytest.mark.parametrize("log_level", ["warning", "info"])
def test_the_option_log_level_holds_for_access_lines(serve: Serve, worker: str, log_level: str) -> None:
    """As with uvicorn's worker, of whose users some turn them off so."""
    kind = worker.rpartition(".")[2]
    conf = f"from uvicorn_worker import {kind}\nworker_class = {kind}.configure(log_level={log_level!r})\n"
    server = serve("probe:app", "--access-logfile", "access.log", files={"gunicorn.conf.py": conf})
    assert server.get().status_code == 200
    assert server.stop_gracefully() == 0
    assert len(server.read("access.log").splitlines()) == (1 if log_level == "info" else 0)
