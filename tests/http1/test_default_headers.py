"""The fields that each response has without the application's doing: date, server, and those of Config.headers."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.http1.apps import hello, stream
from tests.http1.conftest import Connect
from tests.scripted import Response, get


def answer_of(connect: Connect, headers: Any = (), **options: Any) -> Response:
    """The last of three answers: each of them is the same, however often the fields were sent before."""
    first, second, third = connect(stream(b"", headers=headers), **options).send(get(), get() * 2).responses()
    assert first == second == third
    return third


def test_date_and_server(connect: Connect) -> None:
    before = time.time()
    response = answer_of(connect)
    assert response.get("server") == "uvicorn"
    date = response.get("date") or ""
    # In whole seconds, and that of the last tick.
    assert before - 2 < parsedate_to_datetime(date).timestamp() <= time.time()
    assert date.endswith(" GMT")


@pytest.mark.parametrize("name", [b"date", b"Date", b"DATE"])
def test_the_applications_date_wins(connect: Connect, name: bytes) -> None:
    response = answer_of(connect, [(name, b"yesterday")])
    assert response.get("date") == "yesterday"
    assert response.get("server") == "uvicorn"


def test_the_applications_server_wins(connect: Connect) -> None:
    response = answer_of(connect, [(b"Server", b"own")])
    assert response.get("server") == "own"
    assert response.get("date") is not None


def test_both_win(connect: Connect) -> None:
    response = answer_of(connect, [(b"server", b"own"), (b"x", b"y"), (b"date", b"today")])
    assert (response.get("server"), response.get("date"), response.get("x")) == ("own", "today", "y")


def test_they_can_be_switched_off(connect: Connect) -> None:
    response = answer_of(connect, server_header=False, date_header=False)
    assert response.get("server") is response.get("date") is None


class TestConfigured:
    FIELDS = (("X-Frame-Options", "DENY"), (b"x-bytes", b"\xe9"), ("X-Twice", "1"), ("x-twice", "2"))

    def test_they_are_added(self, connect: Connect) -> None:
        client = connect(hello, headers=list(self.FIELDS)).send(get())
        response = client.response()
        assert response.get("x-frame-options") == "DENY"
        assert response.get("x-bytes") == "\xe9"
        assert response.get_all("x-twice") == ["1", "2"]
        assert response.get("server") == "uvicorn"

    def test_the_applications_own_win(self, connect: Connect) -> None:
        own = [(b"x-frame-options", b"SAMEORIGIN"), (b"X-Twice", b"3")]
        client = connect(stream(b"", headers=own), headers=list(self.FIELDS)).send(get() * 2)
        for response in client.responses():
            assert response.get("x-frame-options") == "SAMEORIGIN"
            assert response.get_all("x-twice") == ["3"]
            assert response.get("x-bytes") == "\xe9"

    @pytest.mark.parametrize("name", ["server", "Server"])
    def test_a_server_takes_the_place_of_ours(self, connect: Connect, name: str) -> None:
        client = connect(hello, headers=[(name, "mine")]).send(get())
        assert client.response().get("server") == "mine"

    def test_refusals_and_errors_have_them_too(self, connect: Connect) -> None:
        client = connect(stream(), headers=list(self.FIELDS)).send(get() + get("*"))
        assert [response.get("x-frame-options") for response in client.responses()] == ["DENY", "DENY"]

    def test_a_date_takes_the_place_of_ours(self, connect: Connect) -> None:
        client = connect(hello, headers=[("Date", "never")]).send(get())
        assert client.response().get("date") == "never"


def test_the_date_is_made_anew_as_time_passes(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(hello).send(get())
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    client.harness.runtime.defaults.refresh()
    client.send(get())
    assert client.responses()[1].get("date") == "Sun, 09 Sep 2001 01:46:40 GMT"
